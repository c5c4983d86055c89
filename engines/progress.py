"""How far a build is: bytes of the checkpoint that have been dealt with.

Knows what was read of which tensor; does not know terminals.
"""

from __future__ import annotations

from math import prod

from lineside.engines.shards import Array
from lineside.engines.weights import Checkpoint, TensorSource


class Progress:
    """Whoever watches a build; this one does not."""

    def forecast(self, words: str) -> None:
        """What the build will take of disk and memory, before anything of it begins."""

    def stage(self, name: str, total_bytes: int) -> None:
        """A stage begins, of so many bytes; 0 where nobody knows how long it takes."""

    def advance(self, done_bytes: int) -> None:
        """So many more bytes of the checkpoint are done."""

    def stored(self, form: str, error: float) -> None:
        """A rounded matrix was stored in this form, with this relative error."""


class CountedTensors:
    """A source that tells its reader's progress (`TensorSource`).

    Counts a tensor's rows once, as they are read in order: samples taken here and there, and second readings,
    do not count.
    """

    def __init__(self, source: TensorSource, checkpoint: Checkpoint, progress: Progress) -> None:
        self._source = source
        self._checkpoint = checkpoint
        self._progress = progress
        self._read: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._source

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Some rows, counted."""
        values = self._source.rows(name, shape, start, stop)
        before = self._read.get(name, 0)
        if start <= before < stop:
            self._read[name] = stop
            stored = self._checkpoint.stored_bytes(name) // max(prod(shape[:1]), 1)
            self._progress.advance((stop - before) * stored)
        return values

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """A whole tensor, counted."""
        return self.rows(name, shape, 0, shape[0] if shape else 1)
