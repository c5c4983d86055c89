"""The contract is well formed, and nothing that a client relies on goes: `buf lint` and `buf breaking`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")

pytestmark = pytest.mark.skipif(
    BUF is None, reason="buf (package buf-bin) is not installed: lint and breaking changes were not looked at"
)


def buf(task: str, protos: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BUF": str(BUF), "PYTHON": sys.executable, "PROTOS": str(protos)}
    return subprocess.run(
        [ROOT / ".ci" / "buf", task], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the protos that a test may change."""
    shutil.copytree(
        ROOT / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("*.py*", "__pycache__")
    )
    return tmp_path / "protos"


def replace(protos: Path, file: str, old: str, new: str) -> None:
    path = protos / "lineside" / "v1" / file
    text = path.read_text()
    assert text.count(old) == 1, "the test does not change what it means to"
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("task", ["lint", "breaking"])
def test_the_contract_holds(task: str) -> None:
    run = buf(task, ROOT / "protos")
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("cameras.proto", "  int32 width = 10;\n", ""),
        ("cameras.proto", "int32 width = 10;", "int64 width = 10;"),
        ("results.proto", "string part_id = 7;", "string part_id = 77;"),
        ("results.proto", "RESULT_EVALUATION_NOT_OK = 2;", "RESULT_EVALUATION_NOT_OK = 4;"),
        ("devices.proto", "rpc GetCaller(", "rpc WhoAmI("),
    ],
    ids=["field removed", "type changed", "number changed", "verdict renumbered", "call renamed"],
)
def test_a_change_that_breaks_clients_is_found(changed: Path, file: str, old: str, new: str) -> None:
    replace(changed, file, old, new)
    assert buf("breaking", changed).returncode != 0


def test_a_change_that_only_adds_is_none_that_breaks(changed: Path) -> None:
    replace(
        changed,
        "cameras.proto",
        "  int32 width = 10;\n",
        "  int32 width = 10;\n  // New.\n  bool new = 99;\n",
    )
    run = buf("breaking", changed)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_name_against_the_rules_is_found(changed: Path) -> None:
    replace(changed, "cameras.proto", "string camera = 2;", "string Camera = 2;")
    run = buf("lint", changed)
    assert run.returncode != 0
    assert "lower_snake_case" in run.stdout
