"""What is in the tree is in the package, what is installed is written down, and imports run one way."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Version]:
    """constraints.txt: normalised name → version."""
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {
        canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)
    }


def literal(root: Path, name: str) -> Any:
    """A name that setup.py sets to plain values, without running it."""
    for node in ast.walk(ast.parse((root / "setup.py").read_text())):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == name
        ):
            return ast.literal_eval(node.value)
        if isinstance(node, ast.keyword) and node.arg == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py sets no {name}")


def room_of(path: Path, rooms: dict[str, str]) -> Path | None:
    """The mapped folder that `path` lies in."""
    return next((Path(folder) for folder in rooms.values() if path.is_relative_to(folder)), None)


def test_every_folder_with_code_is_a_package(root: Path, sources: list[Path]) -> None:
    rooms = literal(root, "ROOTS")
    folders = {path.parent for path in sources if room_of(path, rooms)}
    assert folders
    assert [str(folder) for folder in sorted(folders) if not (root / folder / "__init__.py").is_file()] == []


def test_every_room_with_code_is_mapped(root: Path, sources: list[Path]) -> None:
    rooms = literal(root, "ROOTS")
    assert [str(path) for path in sources if room_of(path, rooms) is None] == []


def test_every_data_file_beside_code_is_packaged(root: Path, files: list[Path]) -> None:
    rooms = literal(root, "ROOTS")
    packages = [path.parent for path in files if path.name == "__init__.py" and room_of(path, rooms)]
    packaged = {
        found.relative_to(root)
        for package in packages
        for pattern in literal(root, "package_data")[""]
        for found in (root / package).glob(pattern)
    }
    data = [path for path in files if room_of(path, rooms) is not None and path.suffix != ".py"]
    assert data
    assert [str(path) for path in data if path not in packaged] == []


def test_the_links_for_type_checkers_lead_to_the_rooms(root: Path) -> None:
    rooms = literal(root, "ROOTS")
    links = {f"lineside.{path.name}": path for path in (root / ".ns" / "lineside").iterdir()}
    assert set(links) == set(rooms)
    for name, link in links.items():
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.resolve() == root / rooms[name]


def test_every_command_and_script_exists(project: dict[str, Any]) -> None:
    commands = project["project"]["entry-points"]["lineside.commands"]
    for target in [*project["project"]["scripts"].values(), *commands.values()]:
        module, _, attribute = target.partition(":")
        assert callable(getattr(importlib.import_module(module), attribute)), target


def test_what_is_required_is_pinned_to_a_version_that_fits(
    project: dict[str, Any], pins: dict[str, Version]
) -> None:
    extras = project["project"]["optional-dependencies"]
    required = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *extras["test"],
        *extras["parity"],
    ]
    for text in required:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in constraints.txt"
        assert pins[name] in requirement.specifier, f"constraints.txt pins {name} {pins[name]}, not {text}"


def test_a_device_and_the_tests_need_no_torch(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    named = [Requirement(text).name for text in [*project["project"]["dependencies"], *extras["test"]]]
    assert not {"torch", "transformers", "triton"} & set(named)


def test_imports_run_one_way(root: Path) -> None:
    beside = Path(sys.executable).parent / "lint-imports"
    linter = str(beside) if beside.exists() else shutil.which("lint-imports")
    assert linter is not None
    run = subprocess.run([linter], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
