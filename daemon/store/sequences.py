"""A high-water mark of sequence numbers outside the database.

Consumers take the sequence as their cursor, so a number may never name two results, even after the
database file was destroyed and begun anew. Numbers are reserved in blocks in a small file; a new
database starts after the block. Consumers then see a gap, which is the truth.
"""

from __future__ import annotations

from pathlib import Path

from lineside.daemon.store.durable import write_file

BLOCK = 1000
"""Numbers reserved at a time: two fsyncs each."""


class SequenceReserve:
    """The file that says up to which number sequences may have been given. Owned by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved: int | None = None

    def reserved(self) -> int:
        """The highest number that may have been given; 0 before the first.

        Raises:
            ValueError: the file is damaged. OSError: it cannot be read.
        """
        if self._reserved is None:
            try:
                self._reserved = int(self._path.read_text("ascii"))
            except FileNotFoundError:
                self._reserved = 0
        return self._reserved

    def cover(self, sequence: int) -> None:
        """Makes sure, durably, that `sequence` lies within what is reserved.

        Raises:
            OSError: the mark could not be written; the number must not be given.
        """
        if sequence <= self.reserved():
            return
        self.rewrite(sequence)

    def rewrite(self, sequence: int) -> None:
        """Writes the mark anew, a block beyond `sequence`. Raises OSError."""
        mark = sequence + BLOCK
        write_file(self._path, str(mark).encode("ascii"))
        self._reserved = mark
