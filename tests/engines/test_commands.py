"""`lineside engine …`: what people and scripts see, and the exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tiny_engine
from click.testing import CliRunner, Result
from tokenizers import Tokenizer

from lineside.engines.bundle import amend_bundle, open_bundle
from lineside.engines.commands import engine
from lineside.engines.commands.pictures import read_clip
from lineside.engines.selftest import FILE_NAME, make_selftest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(engine, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "part.png")
    return tmp_path / "part.png"


def test_show_and_verify(bundle: Path) -> None:
    shown = run("show", bundle)
    assert shown.exit_code == 0
    assert shown.output.startswith("tiny 0.0.1\n")
    said = json.loads(run("show", bundle, "--json").output)
    assert (said["name"], said["is_demo"], said["scope"]) == ("tiny", False, None)
    assert said["digest"] in run("verify", bundle).output
    assert json.loads(run("verify", bundle, "--json").output)["digest"] == said["digest"]


def test_a_damaged_bundle_ends_with_3_and_the_reason(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "config.json").write_text("{}")
    for command in (["show", copy], ["verify", copy], ["run", copy, "--choice", "a,b"]):
        result = run(*command)
        assert result.exit_code == 3
        assert "config.json was changed" in result.output


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (["--choice", "ok, cracked"], str),
        (["--count", "0:7"], int),
        (["--count", "7"], int),
        (["--text", "K[0-9]"], str),
    ],
)
def test_run_answers_in_text_and_json(bundle: Path, photo: Path, asked: list[str], kind: type) -> None:
    ask = ["run", bundle, "--image", photo, "--instruction", "Is it ok?", "--threads", "1", *asked]
    said = json.loads(run(*ask, "--json").output)
    assert isinstance(said["value"], kind)
    assert 0 < said["confidence"] <= 1
    assert said["tokens"]["image"] == 12
    assert said["timings"]["total"] > 0
    lines = run(*ask).output.splitlines()
    assert lines[0].startswith(f"{said['value']}  ")
    assert "tokens: prefix" in lines[-1]


def test_run_takes_a_schema_and_several_pictures(bundle: Path, photo: Path, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    (tmp_path / "s.json").write_text(json.dumps(schema | {"additionalProperties": False}))
    result = run("run", bundle, "--image", photo, "--image", photo, "--schema", tmp_path / "s.json", "--json")
    said = json.loads(result.output)
    assert set(said["value"]) == {"a"}
    assert said["tokens"]["image"] == 24


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of --choice"),
        (["--choice", "a", "--count", "3"], "one of --choice"),
        (["--count", "few"], "MIN:MAX"),
    ],
)
def test_wrong_usage_ends_with_2(bundle: Path, arguments: list[str], says: str) -> None:
    result = run("run", bundle, *arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_what_is_no_picture_or_schema_is_wrong_usage(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{")
    assert run("run", bundle, "--image", tmp_path / "x", "--choice", "a,b").exit_code == 2
    assert run("run", bundle, "--schema", tmp_path / "x").exit_code == 2


def test_refused_questions_end_with_3_and_no_answer_with_1(bundle: Path) -> None:
    assert run("run", bundle, "--question", "Hello", "--text", "[a-").exit_code == 3
    assert (
        run("run", bundle, "--question", "Hello", "--choice", "a,b", "--runtime", "tensorrt").exit_code == 3
    )
    full = run("run", bundle, "--question", "Hello", "--text", "[xq]{64}", "--context-tokens", "64")
    assert full.exit_code == 1
    assert "does not fit the context" in full.output


def test_build_makes_a_bundle_that_runs(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "built.lsengine"
    fields = ["--name", "built", "--version", "1.0.0", "--licence", "Apache-2.0"]
    built = run("build", checkpoint, "-o", out, *fields, "--source", "random", "--context-tokens", "100")
    assert built.exit_code == 0
    said = json.loads(run("show", out, "--json").output)
    assert said["digest"] in built.output
    assert (said["source"]["model"], said["context_tokens"]) == ("random", 100)


def test_build_of_the_demo_engine_lists_the_questions_it_knows(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    fields = ["--name", "demo", "--version", "1.0.0", "--licence", "Apache-2.0"]
    assert run("build", checkpoint, "-o", out, *fields, "--demo").exit_code == 0
    said = json.loads(run("show", out, "--json").output)
    assert said["is_demo"]
    assert {entry["kind"] for entry in said["scope"]} == {"choice", "count", "text"}
    assert "knows" in run("show", out).output
    refused = run("run", out, "--instruction", "What colour is the sky?", "--choice", "blue,grey")
    assert refused.exit_code == 3
    assert "It knows" in refused.output


def test_build_of_something_else_is_refused(tmp_path: Path) -> None:
    fields = ["--name", "x", "--version", "1", "--licence", "MIT"]
    result = run("build", tmp_path, "-o", tmp_path / "out", *fields)
    assert result.exit_code == 3
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def tested(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a self-test, as an archive."""
    path = tiny_engine.build(checkpoint, tmp_path_factory.mktemp("tested") / "engine.lsengine")
    make_selftest(path, threads=1)
    return path


def test_run_asks_freely_and_says_where_it_was_cut(bundle: Path) -> None:
    said = json.loads(run("run", bundle, "--prompt", "Hello", "--max-tokens", "5", "--json").output)
    assert said["cut"]
    assert len(said["token_ids"]) == len(said["decisions"]) == 5
    assert said["value"] == said["text"]
    assert said["engine"]["memory_bytes"] > 0
    shown = run("run", bundle, "--prompt", "Hello", "--max-tokens", "5").output
    assert "cut at --max-tokens" in shown
    assert f"token ids {' '.join(str(token) for token in said['token_ids'])}" in shown


def test_run_writes_the_logits_each_token_was_read_from(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "logits.npy"
    ask = ["--prompt", "Is the cap", "--raw", "--max-tokens", "6", "--logits", out, "--json"]
    said = json.loads(run("run", bundle, *ask).output)
    logits = np.load(out)
    assert logits.dtype == np.float32
    assert logits.shape[0] == 6
    assert (
        logits[:, : Tokenizer.from_file(str(bundle / "tokenizer.json")).get_vocab_size()]
        .argmax(axis=1)
        .tolist()
        == (said["token_ids"])
    )
    tokens = said["tokens"]
    words = Tokenizer.from_file(str(bundle / "tokenizer.json")).encode("Is the cap").ids
    assert tokens["prefix"] + tokens["prompt"] == len(words)


@pytest.mark.parametrize(
    ("name", "source", "allowed"),
    [
        ("g.regex", "(ok|bad)-[0-9]{2}\n", r"(ok|bad)-[0-9]{2}"),
        ("g.lark", 'start: "left" | "right"', "left|right"),
        ("g.json", '{"enum": ["left", "right"]}', '"left"|"right"'),
    ],
)
def test_run_takes_a_grammar_from_a_file(
    bundle: Path, tmp_path: Path, name: str, source: str, allowed: str
) -> None:
    (tmp_path / name).write_text(source)
    ask = ["run", bundle, "--prompt", "Which?", "--grammar", tmp_path / name, "--json"]
    said = json.loads(run(*ask).output)
    assert re.fullmatch(allowed, said["text"])
    assert not said["cut"]


def test_run_looks_at_a_clip(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for value in range(20):
        writer.write(np.full((24, 32, 3), 10 * value, np.uint8))
    writer.release()
    ask = ["run", bundle, "--video", path, "--prompt", "What?", "--choice", "a,b", "--json"]
    assert json.loads(run(*ask).output)["tokens"]["image"] > 0
    for fps, most, frames, kept in ((2, 64, 4, 2.0), (99, 64, 20, 10.0), (99, 4, 3, 1.25), (5, 5, 5, 2.5)):
        clip = read_clip(path, fps, most)
        assert (len(clip.frames), clip.fps) == (frames, kept)
        # Brightness rises by 10 a frame: the frames are evenly far apart, from the first on.
        levels = clip.frames.mean(axis=(1, 2, 3))
        assert np.allclose(levels, np.arange(frames) * (100 / kept), atol=6)
    assert run("run", bundle, "--video", bundle / "config.json", "--prompt", "x").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prompt", "a", "--question", "b"], "same words"),
        (["--raw", "--question", "b", "--choice", "a,b"], "--raw sends --prompt"),
        (["--raw", "--prompt", "b", "--instruction", "c"], "--raw sends --prompt"),
        (["--question", "b"], "one of --choice"),
    ],
)
def test_words_in_two_places_are_wrong_usage(bundle: Path, arguments: list[str], says: str) -> None:
    result = run("run", bundle, *arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_a_grammar_of_another_kind_is_wrong_usage(bundle: Path, tmp_path: Path) -> None:
    for name, source in (("g.txt", "a"), ("g.json", "[]"), ("h.json", "{"), ("g.regex", "\udcff")):
        (tmp_path / name).write_bytes(source.encode("utf-8", "surrogateescape"))
        assert run("run", bundle, "--prompt", "x", "--grammar", tmp_path / name).exit_code == 2
    (tmp_path / "g.lark").write_text("start: nothing")
    assert run("run", bundle, "--prompt", "x", "--grammar", tmp_path / "g.lark").exit_code == 3


def test_show_states_the_memory_before_anything_is_loaded(bundle: Path) -> None:
    said = json.loads(run("show", bundle, "--json").output)
    memory = said["memory_bytes"]
    most = said["context_tokens"]
    assert memory["by_context"][str(most)] == (
        memory["graphs"] + memory["fixed_states"] + most * memory["per_token"]
    )
    assert f"with a context of {most} tokens" in run("show", bundle).output


def test_keys_are_made_and_sign_and_are_trusted(tested: Path, tmp_path: Path) -> None:
    made = json.loads(run("keys", "new", tmp_path / "keys", "--name", "plant", "--json").output)
    again = run("keys", "new", tmp_path / "keys", "--name", "plant")
    assert again.exit_code == 3
    assert "never overwritten" in again.output
    trust = tmp_path / "trust"
    trust.mkdir()
    shutil.copy(made["public"], trust)
    assert json.loads(run("keys", "list", trust, "--json").output) == [made["id"]]
    assert made["id"] in run("keys", "list", made["public"]).output
    engine_file = shutil.copy(tested, tmp_path / "engine.lsengine")
    unsigned = run("verify", engine_file, "--trust", trust)
    assert unsigned.exit_code == 3
    assert "not signed" in unsigned.output
    assert made["id"] in run("keys", "sign", engine_file, made["private"]).output
    said = json.loads(run("verify", engine_file, "--trust", trust, "--threads", "1", "--json").output)
    assert (said["signature"], said["key"], said["selftest"]["passed"]) == ("trusted", made["id"], True)
    assert f"by {made['id']} (trusted)" in run("show", engine_file, "--trust", trust).output
    assert "unknown key" in run("show", engine_file).output


def test_the_environment_can_ask_for_signatures(
    tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINESIDE_ENGINE_TRUST", str(tmp_path))
    for command in (["verify"], ["show"], ["run", "--prompt", "x"]):
        result = run(command[0], tested, *command[1:])
        assert result.exit_code == 3
        assert "not signed" in result.output


def test_verify_runs_the_self_test_and_says_so(tested: Path, bundle: Path) -> None:
    shown = run("verify", tested, "--threads", "1")
    assert shown.exit_code == 0
    assert "ok   words: " in shown.output
    assert "not run" in run("verify", tested, "--no-selftest").output
    assert "the bundle has none" in run("verify", bundle).output


def test_verify_ends_with_3_where_the_engine_computes_something_else(
    tested: Path, checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tiny_engine.write_checkpoint(other, "moe", seed=8)
    path = tiny_engine.build(other, tmp_path / "engine")
    vectors = open_bundle(tested, tmp_path / "cache").path(FILE_NAME).read_bytes()
    amend_bundle(path, lambda _: {"selftest": {"file": FILE_NAME, "tolerance": 1e-3}}, {FILE_NAME: vectors})
    shown = run("verify", path)
    assert shown.exit_code == 3
    assert "FAIL words" in shown.output
    assert "does not compute" in shown.output


def test_build_makes_a_signed_bundle_with_a_self_test(checkpoint: Path, tmp_path: Path) -> None:
    made = json.loads(run("keys", "new", tmp_path / "keys", "--json").output)
    out = tmp_path / "built.lsengine"
    fields = ["--name", "built", "--version", "1", "--licence", "MIT"]
    built = run("build", checkpoint, "-o", out, *fields, "--sign", made["private"])
    assert built.exit_code == 0
    assert f"signed by {made['id']}" in built.output
    said = json.loads(run("verify", out, "--trust", tmp_path / "keys", "--json").output)
    assert (said["signature"], said["selftest"]["passed"]) == ("trusted", True)
    plain = tmp_path / "plain"
    assert run("build", checkpoint, "-o", plain, *fields, "--no-selftest").exit_code == 0
    assert not json.loads(run("show", plain, "--json").output)["selftest"]
    Path(made["private"]).chmod(0o644)
    refused = run("build", checkpoint, "-o", tmp_path / "no", *fields, "--sign", made["private"])
    assert refused.exit_code == 3
    assert not (tmp_path / "no").exists()
