"""A Jetson as the installer needs to know it: release, packages, memory, disk. Standard library only.

Everything is read below a root, so that it can be tried on recorded or written trees. Judges nothing.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def _load_l4t():  # type: ignore[no-untyped-def]
    """The doctor's reader of Jetson files, by its place: nothing of the product is installed yet."""
    spec = importlib.util.spec_from_file_location("l4t", REPOSITORY / "daemon" / "doctor" / "l4t.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["l4t"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


l4t = _load_l4t()


@dataclass(frozen=True)
class Machine:
    """What was found. Versions are as packages name them, empty where there is none; sizes in bytes."""

    board: str
    release: object
    packages: dict
    cuda: str
    memory: int
    disk_free: int
    python: tuple

    @property
    def tensorrt(self) -> str:
        """TensorRT's version, by its runtime library's package."""
        found = [v for name, v in self.packages.items() if re.fullmatch(r"libnvinfer\d+", name)]
        return max(found, key=numbers, default="").partition("-")[0]


def numbers(version: str) -> tuple:
    """A version's numbers, to compare by."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def look(root: Path, target: str = "opt") -> Machine:
    """Reads the machine below `root`; `target`: the folder whose disk counts."""
    place = root / target
    while not place.exists():
        place = place.parent
    return Machine(
        board=l4t.model(root),
        release=l4t.release(root),
        packages=installed(root),
        cuda=_cuda(root),
        memory=_memory(root),
        disk_free=shutil.disk_usage(place).free,
        python=sys.version_info[:3],
    )


def installed(root: Path) -> dict:
    """Packages that dpkg has installed: name → version."""
    found = {}
    for entry in l4t.read_text(root / "var/lib/dpkg/status").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", entry, flags=re.M))
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            found[fields["Package"]] = fields.get("Version", "")
    return found


def _cuda(root: Path) -> str:
    try:
        raw = json.loads(l4t.read_text(root / "usr/local/cuda/version.json"))
        return str(raw["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        return ""


def _memory(root: Path) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", l4t.read_text(root / "proc/meminfo"), flags=re.M)
    return int(found[1]) << 10 if found else 0
