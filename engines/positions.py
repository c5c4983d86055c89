"""Where tokens and patches are: the position inputs of the vision and decoder graphs.

Plain arithmetic on grids and token positions, equal to the transformers model. Knows nothing of
pictures, token ids or runtimes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VisionPositions:
    """The vision graph's position inputs for one grid; shapes as in docs/engine-bundle.md."""

    index: Integers
    weight: Floats
    cos: Floats
    sin: Floats


def vision_positions(
    grid_h: int, grid_w: int, *, merge: int, table_side: int, head_dim: int, theta: float
) -> VisionPositions:
    """Position inputs for a picture of `grid_h`×`grid_w` patches, in merge order (blocks of `merge`×`merge`).

    `table_side`: side of the square learned position table; `head_dim` and `theta`: the rotary's numbers.
    """
    rows, columns = _merge_order(grid_h, grid_w, merge)
    row_taps, row_weights = _bilinear(rows, grid_h, table_side)
    column_taps, column_weights = _bilinear(columns, grid_w, table_side)
    index = (row_taps[:, None] * table_side + column_taps[None, :]).reshape(4, -1)
    weight = (row_weights[:, None] * column_weights[None, :]).reshape(4, -1)

    axis = head_dim // 2
    inverse = _inverse_frequencies(axis, theta)
    angles = np.concatenate(
        [rows.astype(np.float32)[:, None] * inverse, columns.astype(np.float32)[:, None] * inverse], axis=1
    )
    angles = np.concatenate([angles, angles], axis=1)
    return VisionPositions(index, weight.astype(np.float32), np.cos(angles), np.sin(angles))


def _merge_order(grid_h: int, grid_w: int, merge: int) -> tuple[Integers, Integers]:
    """Row and column of every patch in the order the patches come in."""
    rows, columns = np.meshgrid(np.arange(grid_h), np.arange(grid_w), indexing="ij")
    blocks = (grid_h // merge, merge, grid_w // merge, merge)
    return (
        rows.reshape(blocks).transpose(0, 2, 1, 3).reshape(-1).astype(np.int64),
        columns.reshape(blocks).transpose(0, 2, 1, 3).reshape(-1).astype(np.int64),
    )


def _bilinear(at: Integers, size: int, side: int) -> tuple[Integers, Floats]:
    """The two rows of a `side`-long table that position `at` of `size` lies between (corners aligned)."""
    source = at.astype(np.float32) * np.float32(side - 1) / np.float32(max(size - 1, 1))
    low = np.floor(source)
    offsets = np.arange(2, dtype=np.float32)[:, None]
    taps = np.clip(low.astype(np.int64) + offsets.astype(np.int64), 0, side - 1)
    weights = np.maximum(np.float32(1) - np.abs(source - low - offsets), np.float32(0))
    return taps, weights


def _inverse_frequencies(dimensions: int, theta: float) -> Floats:
    exponents = np.arange(0, dimensions, 2, dtype=np.float32) / np.float32(dimensions)
    frequencies: Floats = np.float32(1) / np.power(np.float32(theta), exponents)
    return frequencies


@dataclass(frozen=True, slots=True)
class VisionSpan:
    """Picture tokens in a prompt: from token `start`, `rows`×`columns` of them (the merged grid)."""

    start: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class TokenPositions:
    """`streams`: [3, T] positions in time, height and width; `next`: the position of the token that follows.

    Decoding goes on at `next`, `next` + 1, … in all three streams.
    """

    streams: Integers
    next: int

    @property
    def rope_delta(self) -> int:
        """What to add to a token's index after the prompt to get its position."""
        return self.next - int(self.streams.shape[1])


def token_positions(length: int, spans: Sequence[VisionSpan]) -> TokenPositions:
    """Positions of a prompt of `length` tokens with picture tokens at `spans` (in order).

    Each picture, and each frame pair of a clip, is a span of its own: a picture advances text by the
    longer side of its merged grid, not by its number of tokens.
    """
    streams = np.empty((3, length), np.int64)
    position = done = 0
    for span in spans:
        text = span.start - done
        if text < 0:
            raise ValueError("picture spans overlap or are out of order")
        streams[:, done : span.start] = np.arange(position, position + text)
        position += text
        done = span.start + span.rows * span.columns
        if done > length:
            raise ValueError("a picture span reaches beyond the prompt")
        streams[0, span.start : done] = position
        streams[1, span.start : done] = np.repeat(np.arange(span.rows), span.columns) + position
        streams[2, span.start : done] = np.tile(np.arange(span.columns), span.rows) + position
        position += max(span.rows, span.columns)
    streams[:, done:] = np.arange(position, position + length - done)
    return TokenPositions(streams, position + length - done)


class TextRotary:
    """The decoder's rotary angles: three position streams interleaved over one set of frequencies."""

    def __init__(self, rotary_dim: int, theta: float, section: Sequence[int]) -> None:
        """`rotary_dim`: rotated dimensions a head; `section`: frequencies for time, height and width."""
        self._inverse = _inverse_frequencies(rotary_dim, theta)
        stream = np.zeros(rotary_dim // 2, np.int64)
        stream[1 : section[1] * 3 : 3] = 1
        stream[2 : section[2] * 3 : 3] = 2
        self._stream = stream

    def angles(self, streams: Integers) -> tuple[Floats, Floats]:
        """cos and sin [T, rotary_dim/2] for position streams [3, T]."""
        angles = streams[self._stream].T.astype(np.float32) * self._inverse
        return np.cos(angles), np.sin(angles)

    def text_angles(self, start: int, count: int) -> tuple[Floats, Floats]:
        """cos and sin [count, rotary_dim/2] for plain text at positions `start`, `start` + 1, …"""
        angles = np.arange(start, start + count, dtype=np.float32)[:, None] * self._inverse
        return np.cos(angles), np.sin(angles)
