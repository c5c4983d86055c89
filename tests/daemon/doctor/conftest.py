"""A device with settings in a temporary folder, and a root of its own for what the kernel would show."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for doctor_clock

from doctor_clock import SetClock

from lineside.daemon.doctor.base import Check, Finding, Subject, look_at

SETTINGS = """
device: {{id: box1, data_dir: data}}
cameras: [{camera}]
stations: [{{id: st1, camera: cam1, recipe: tray.yaml}}]
{more}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where `proc`, `sys` and `dev` are looked for; empty."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def device(tmp_path: Path, root: Path) -> Callable[..., Subject]:
    """A subject; `camera` and `more` go into its settings, keywords change its fields."""

    def make(*, camera: str = "{id: cam1, kind: push}", more: str = "", **changes: Any) -> Subject:
        recipe = (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
        (tmp_path / "tray.yaml").write_text(recipe)
        config = tmp_path / "lineside.yaml"
        config.write_text(SETTINGS.format(camera=camera, more=more))
        subject = look_at(config, SetClock(), root)
        return dataclasses.replace(subject, patience_s=5.0, **changes)

    return make


@pytest.fixture
def plant(root: Path) -> Callable[[dict[str, str]], None]:
    """Puts files under the root: path → content."""

    def write(tree: dict[str, str]) -> None:
        for name, content in tree.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


@pytest.fixture
def run() -> Callable[[Check, Subject], list[Finding]]:
    """A check's findings."""
    return lambda check, subject: list(check.run(subject))
