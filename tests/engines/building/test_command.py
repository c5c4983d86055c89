"""`lineside engine build` from a user's side: defaults, precisions, and every way in which it can fail.

Whatever fails ends with exit code 3, a message that says what to do, and nothing beside what was there.
"""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from lineside.engines import build as building
from lineside.engines import room
from lineside.engines.base import Choice, Prompt
from lineside.engines.bundle import open_bundle
from lineside.engines.commands import engine
from lineside.engines.open import Engine
from lineside.engines.weights import open_checkpoint

LICENCE = ("--licence", "Apache-2.0")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(engine, [str(one) for one in ("build", *arguments)], catch_exceptions=False)


@pytest.fixture
def source(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "part-checker-0.1B"))


@pytest.mark.parametrize("precision", ["int4", "int8", "fp16"])
def test_a_bundle_of_each_precision_answers(source: Path, tmp_path: Path, precision: str) -> None:
    out = tmp_path / f"{precision}.lsengine"
    built = run(source, "-o", out, "--precision", precision, *LICENCE, "--context-tokens", 200, "--json")
    assert built.exit_code == 0, built.output
    said = json.loads(built.stdout)
    assert said["precision"] == precision
    assert said["bytes"] == out.stat().st_size
    assert said["forms"]
    bundle = open_bundle(out, tmp_path / "cache")
    assert bundle.manifest.digest == said["digest"]
    assert bundle.manifest.precision == precision
    report = json.loads(bundle.text(building.QUANTISATION_FILE))
    assert {one["form"] for one in report} == set(said["forms"])
    picture = np.zeros((24, 32, 3), np.uint8)
    with Engine.open(out, threads=1, cache=tmp_path / "cache") as opened:
        answer = opened.answer([picture], Prompt("Is it ok?"), Choice(("ok", "cracked")))
    assert answer.value in ("ok", "cracked")


def test_name_version_and_licence_come_from_the_checkpoint(source: Path, tmp_path: Path) -> None:
    (source / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- x\n---\n# A model\n")
    hub = tmp_path / "models--acme--caps-2B" / "snapshots" / ("c0ffee12" * 5)
    shutil.copytree(source, hub)
    assert run(hub, "-o", tmp_path / "a").exit_code == 0
    manifest = open_bundle(tmp_path / "a", tmp_path / "cache").manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("caps-2B", "c0ffee12c0ff", "Apache-2.0")
    assert dict(manifest.source) == {"model": "acme/caps-2B", "revision": "c0ffee12" * 5}
    assert run(source, "-o", tmp_path / "b").exit_code == 0
    # Nothing was rounded: there is nothing to report.
    assert not (tmp_path / "b" / building.QUANTISATION_FILE).exists()
    manifest = open_bundle(tmp_path / "b", tmp_path / "cache").manifest
    assert (manifest.name, manifest.version) == ("part-checker-0.1B", "1")


def test_without_a_licence_anywhere_nothing_is_built(source: Path, tmp_path: Path) -> None:
    refused = run(source, "-o", tmp_path / "out")
    assert refused.exit_code == 3
    assert "--licence" in refused.output


def test_a_base_model_has_no_template_and_is_built_raw(source: Path, tmp_path: Path) -> None:
    (source / "chat_template.jinja").unlink()
    refused = run(source, "-o", tmp_path / "out", *LICENCE)
    assert refused.exit_code == 3
    assert "--raw" in refused.output
    assert run(source, "-o", tmp_path / "out", *LICENCE, "--raw").exit_code == 0
    with Engine.open(tmp_path / "out", threads=1, context_tokens=200) as opened:
        picture = np.zeros((24, 32, 3), np.uint8)
        answer = opened.answer([picture], Prompt("Is it ok?", "Look."), Choice(("ok", "cracked")))
    assert answer.tokens.image == 12


def test_a_text_only_checkpoint_needs_no_picture_numbers(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config["text_config"]))
    (source / "preprocessor_config.json").unlink()
    assert run(source, "-o", tmp_path / "out", *LICENCE, "--precision", "int4").exit_code == 0
    assert not (tmp_path / "out" / "onnx" / "vision.onnx").exists()


def test_calibration_on_pictures_is_used_and_needs_pictures(source: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    refused = run(source, "-o", tmp_path / "out", *LICENCE, "--precision", "int4", "--calibrate", pictures)
    assert refused.exit_code == 3
    assert "no pictures" in refused.output
    rng = np.random.default_rng(0)
    for i in range(3):
        values = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        PIL.Image.fromarray(values).save(pictures / f"{i}.png")
    args = ("--precision", "int4", "--calibrate", pictures)
    done = run(source, "-o", tmp_path / "calibrated", *LICENCE, *args)
    assert done.exit_code == 0, done.output
    refused = run(source, "-o", tmp_path / "out", *LICENCE, "--precision", "fp16", "--calibrate", pictures)
    assert refused.exit_code == 3
    assert "int4 and int8" in refused.output


def _truncate(source: Path) -> None:
    shard = source / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])


def _forget(name: str) -> Any:
    return lambda source: (source / name).unlink()


def _misconfigure(source: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    config["text_config"]["hidden_size"] = 64
    config["vision_config"]["out_hidden_size"] = 64
    (source / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_truncate, "not a whole safetensors file"),
        (_misconfigure, "config.json calls for"),
        (_forget("config.json"), "config.json"),
        (_forget("tokenizer.json"), "tokenizer.json is missing"),
        (_forget("preprocessor_config.json"), "preprocessor_config.json is missing"),
        (_forget("model.safetensors"), "no *.safetensors"),
    ],
)
@pytest.mark.parametrize("out", ["engine", "engine.lsengine"])
def test_a_damaged_checkpoint_leaves_nothing(
    source: Path, tmp_path: Path, damage: Any, says: str, out: str
) -> None:
    damage(source)
    before = sorted(path.name for path in tmp_path.iterdir())
    refused = run(source, "-o", tmp_path / out, *LICENCE, "--precision", "int4")
    assert refused.exit_code == 3
    assert says in refused.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written"),
    ],
)
def test_a_full_disk_or_memory_in_the_middle_leaves_what_was_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, says: str
) -> None:
    out = tmp_path / "engine.lsengine"
    out.write_bytes(b"the old one")

    def fails(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(building, "describe_vision", fails)
    refused = run(source, "-o", out, *LICENCE)
    assert refused.exit_code == 3
    assert says in refused.output
    assert out.read_bytes() == b"the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.lsengine", source.name]


def test_too_little_room_is_told_before_anything_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 100))
    refused = run(source, "-o", tmp_path / "out", *LICENCE)
    assert refused.exit_code == 3
    assert "free some room" in refused.output


def test_memory_is_told_before_the_work_and_refused_with_the_way_around_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that the machine cannot load is still built, streamed, without what loads it."""
    checkpoint = open_checkpoint(source)
    large = {name: replace(one, shape=(4096, *one.shape)) for name, one in checkpoint.tensors.items()}
    needed = room.room_needed(
        SimpleNamespace(tensors=large),  # type: ignore[arg-type]
        "int4",
        calibrate=True,
        selftest=True,
    )
    assert needed.building < needed.testing < needed.calibrating

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    PIL.Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(pictures / "1.png")
    monkeypatch.setattr(
        building,
        "room_needed",
        lambda *_given, calibrate, selftest: replace(
            needed,
            disk=1,
            calibrating=needed.calibrating if calibrate else 0,
            testing=needed.testing if selftest else 0,
        ),
    )
    monkeypatch.setattr(room, "free_bytes", lambda: needed.testing - 1)
    before = sorted(path.name for path in tmp_path.iterdir())
    given = (source, "-o", tmp_path / "out", *LICENCE, "--precision", "int4")
    both = run(*given, "--calibrate", pictures)
    tested = run(*given)
    assert (both.exit_code, tested.exit_code) == (3, 3)
    assert "leave --calibrate out" in both.output
    assert "add --no-selftest" in tested.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before

    streamed = run(*given, "--no-selftest")
    assert streamed.exit_code == 0, streamed.output
    assert "needs about" in streamed.stderr
    assert "to build" in streamed.stderr
    assert "self-test" not in streamed.stderr


def test_what_is_neither_a_folder_nor_a_model_is_refused(tmp_path: Path) -> None:
    refused = run(tmp_path / "nowhere", "-o", tmp_path / "out", *LICENCE)
    assert refused.exit_code == 3
    assert "neither a folder" in refused.output


def test_without_a_network_a_hub_model_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    refused = run("acme/no-such-model", "-o", tmp_path / "out", *LICENCE)
    assert refused.exit_code == 3
    assert "cannot be fetched from the Hugging Face hub" in refused.output
    assert "give its path" in refused.output
