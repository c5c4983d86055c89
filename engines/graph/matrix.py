"""Weight matrices that are read a few rows at a time: stored tensors, cut and stacked without being loaded.

Knows rows; does not know what a matrix is for or how it will be stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.weights import TensorSource

Floats = NDArray[np.float32]
_CHUNK_VALUES = 2_000_000  # eight megabytes of float32


@dataclass(frozen=True, slots=True)
class _Segment:
    source: TensorSource
    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Matrix:
    """Rows of stored tensors below each other, [out, in] as checkpoints store linear layers."""

    def __init__(self, segments: tuple[_Segment, ...], width: int) -> None:
        self._segments = segments
        self.shape = (sum(one.stop - one.start for one in segments), width)

    @property
    def name(self) -> str:
        """What it is made of, for people."""
        return "+".join(dict.fromkeys(one.name.removesuffix(".weight") for one in self._segments))

    def rows(self, start: int, stop: int) -> Floats:
        """Some rows, [stop − start, in]."""
        pieces: list[Floats] = []
        at = 0
        for one in self._segments:
            count = one.stop - one.start
            first, last = max(start - at, 0), min(stop - at, count)
            if first < last:
                piece = one.source.rows(one.name, one.shape, one.start + first, one.start + last)
                pieces.append(piece.reshape(last - first, self.shape[1]))
            at += count
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def cut(self, start: int, stop: int) -> Matrix:
        """The matrix of some of the rows, unread."""
        kept: list[_Segment] = []
        at = 0
        for one in self._segments:
            first, last = max(start - at, 0), min(stop - at, one.stop - one.start)
            if first < last:
                kept.append(_Segment(one.source, one.name, one.shape, one.start + first, one.start + last))
            at += one.stop - one.start
        return Matrix(tuple(kept), self.shape[1])

    def chunks(self, values: int = _CHUNK_VALUES) -> Iterator[Floats]:
        """All rows in order, a few megabytes at a time."""
        step = max(1, values // self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self.rows(start, min(start + step, self.shape[0]))

    def columns(self, kind: Any = np.float32, values: int = _CHUNK_VALUES) -> Iterator[NDArray[Any]]:
        """The transposed matrix, [in, out], in bands of its rows, as `kind`.

        The matrix is read once for each band, at most four times: a band is at most a quarter of it, or a
        few megabytes where that is more.
        """
        rows, width = self.shape
        band = max(1, max(values, rows * width // 4 + 1) // rows)
        for left in range(0, width, band):
            right = min(left + band, width)
            out = np.empty((right - left, rows), kind)
            at = 0
            for chunk in self.chunks(values):
                out[:, at : at + len(chunk)] = chunk[:, left:right].T
                at += len(chunk)
            yield out

    def whole(self) -> Floats:
        """Everything at once: for small models and small matrices."""
        return self.rows(0, self.shape[0])


def stored(source: TensorSource, name: str, shape: tuple[int, ...]) -> Matrix:
    """A stored tensor as a matrix; axes beyond the first are laid side by side."""
    return Matrix((_Segment(source, name, shape, 0, shape[0]),), prod(shape[1:]))


def stack(*matrices: Matrix) -> Matrix:
    """Matrices of one width below each other."""
    segments = tuple(segment for one in matrices for segment in one._segments)
    return Matrix(segments, matrices[0].shape[1])
