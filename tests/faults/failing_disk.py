"""Builds the preloaded library of `failing_disk.c`, and gives the environment that a process needs for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("failing_disk.c")


class FailingDisk:
    """One folder of one process whose writing can be made to fail, and to go on."""

    def __init__(self, library: Path, disk: Path, control: Path) -> None:
        self._library = library
        self._disk = disk
        self._control = control

    def environment(self, **more: str) -> dict[str, str]:
        """What the process is started with."""
        return {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "LINESIDE_DISK": str(self._disk),
            "LINESIDE_FAULT": str(self._control),
            **more,
        }

    def fail(self, number: int) -> None:
        """From now on writing fails with this errno."""
        part = self._control.with_suffix(".part")
        part.write_text(str(number))
        part.rename(self._control)

    def work(self) -> None:
        """Writing works again."""
        self._control.unlink(missing_ok=True)


def build(folder: Path) -> Path | None:
    """The library; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "failing_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library
