"""A line drawn in a file: `1` or `0`, replaced whole at each change."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lineside.daemon.outputs.line import LineTrouble
from lineside.daemon.outputs.options import FileOutput


class FileLine:
    """Writes the level where a test, or a person, can watch it."""

    def __init__(self, settings: FileOutput) -> None:
        self._path = Path(settings.path)
        self.set(False)

    def set(self, on: bool) -> None:
        """Replaces the file."""
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            new.write_text("1\n" if on else "0\n")
            new.replace(self._path)
        except OSError as error:
            raise LineTrouble(f"{self._path} cannot be written: {error}") from error

    def close(self) -> None:
        """Switches off."""
        with contextlib.suppress(LineTrouble):
            self.set(False)
