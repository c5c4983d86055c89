"""The hardware's edge: one line that can be on or off."""

from __future__ import annotations

from typing import Protocol


class LineTrouble(Exception):
    """The line could not be opened or switched; the message says why and what to do."""


class Line(Protocol):
    """One output line. Used by one thread only."""

    def set(self, on: bool) -> None:
        """Switches the line. Raises LineTrouble."""
        ...

    def close(self) -> None:
        """Gives the line back, switched off as far as that is still possible. Never raises."""
        ...
