"""`lineside engine …`: what people and scripts see, and the exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from lineside.engines.commands import engine


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
