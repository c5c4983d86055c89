"""The tree as the house's tests see it: tracked files, or all of them where this is no git checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("daemon", "dashboard", "engines", "plugins", "protos")
NOT_OURS = re.compile(r"\.venv|\.git|build|dist|demo-out|var|\.hypothesis|__pycache__|.*_cache|.*\.egg-info")


def _tracked() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        return [
            path.relative_to(ROOT)
            for path in ROOT.rglob("*")
            if not any(NOT_OURS.fullmatch(part) for part in path.relative_to(ROOT).parts)
            and "_pb2" not in path.name
        ]
    return [Path(name) for name in listed.split("\0") if name]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file of ours that exists, relative to the root; links into the tree are left out."""
    return sorted(path for path in _tracked() if (ROOT / path).is_file() and not (ROOT / path).is_symlink())


@pytest.fixture(scope="session")
def sources(files: list[Path]) -> list[Path]:
    """The Python files of the product."""
    return [path for path in files if path.suffix == ".py" and path.parts[0] in ROOMS]
