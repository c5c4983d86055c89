"""What the view looks like without parts: learnt where no part is, so that it follows the light.

A belt may carry a texture and fixed things may stand beside it. At the start a part may already be in view:
each row (each column for a vertical belt) is then read from its own pixels, most of which may be part.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.daemon.triggers.motion.view import Reduced
from lineside.daemon.triggers.options import Polarity

Mask = NDArray[np.bool_]
Levels = NDArray[np.float32]

LEARNING_RATE = 0.05
"""How much of a new frame goes into the background where it shows no part."""
ABSORBED_AFTER = 300
"""Frames after which something that stands still and cannot be a part belongs to the background."""
STILL_LEVEL = 6.0
"""Grey levels a pixel may change between frames and still count as unchanged."""


class Background:
    """The view without parts, in the reduced view's pixels."""

    def __init__(self, polarity: Polarity, min_contrast: float, *, vertical: bool) -> None:
        self._polarity = polarity
        self._min_contrast = min_contrast
        self._vertical = vertical
        self._levels: Reduced | None = None
        self._before: Reduced | None = None
        self._parts: Mask | None = None
        self._age: NDArray[np.int32] | None = None

    def difference(self, small: Reduced) -> Levels:
        """By how many grey levels each pixel differs the way parts do; 0 or less where it does not."""
        if self._levels is None:
            self._levels = self._first(small)
            self._age = np.zeros(small.shape[:2], np.int32)
        else:
            self._levels *= self._gain(small)
        return part_difference(small, self._levels, self._polarity)

    @property
    def levels(self) -> Reduced:
        """The empty view as far as it is known; changes with every frame."""
        assert self._levels is not None, "difference comes first"
        return self._levels

    def learn(self, small: Reduced, raised: Mask, parts: Mask) -> None:
        """Takes the frame in. `raised`: differs from the background; `parts`: may belong to a part."""
        assert self._levels is not None, "difference comes first"
        assert self._age is not None
        around = cv2.dilate(raised.view(np.uint8), np.ones((5, 5), np.uint8))
        cv2.accumulateWeighted(small, self._levels, LEARNING_RATE, mask=1 - around)
        if self._before is not None:
            still = (
                largest_channel(np.asarray(cv2.absdiff(small, self._before), dtype=np.float32)) < STILL_LEVEL
            )
            self._age += 1
            self._age *= raised & ~parts & still
            absorbed = self._age > ABSORBED_AFTER
            if absorbed.any():
                self._levels[absorbed] = small[absorbed]
        self._before = small
        self._parts = around > 0

    def _gain(self, small: Reduced) -> float:
        """How much brighter the light is than it was: the same everywhere, and quick."""
        known = self._levels
        assert known is not None
        now, then = small[::4, ::4, 1], known[::4, ::4, 1]  # green is enough
        usable = then > 8
        if self._parts is not None:
            usable &= ~self._parts[::4, ::4]
        if np.count_nonzero(usable) < 50:
            return 1.0
        return float(np.clip(np.median(now[usable] / then[usable]), 0.7, 1.4))

    def _first(self, small: Reduced) -> Reduced:
        lines = small.transpose(1, 0, 2) if self._vertical else small
        low, middle, high = np.percentile(lines, (15, 50, 85), axis=1).astype(np.float32)
        match self._polarity:
            case "bright":
                line = low
            case "dark":
                line = high
            case _:
                line = self._likeliest(low, middle, high)
        whole = np.repeat(line[:, None], lines.shape[1], axis=1)
        # Fixed things beside the belt differ little from their own line: they are taken as they are.
        near = np.abs(lines - whole).max(axis=2) <= self._min_contrast
        whole[near] = lines[near]
        return np.ascontiguousarray(whole.transpose(1, 0, 2) if self._vertical else whole)

    def _likeliest(self, low: Levels, middle: Levels, high: Levels) -> Levels:
        """Line by line what continues the lines where nothing stands out: there the belt is seen alone."""
        plain = (high - low).max(axis=1) <= self._min_contrast
        result = middle.copy()
        if plain.all() or not plain.any():
            return result
        for start, end in _runs(~plain):
            beside = [middle[line] for line in (start - 1, end) if 0 <= line < len(plain)]
            choices = [levels[start:end] for levels in (low, middle, high)]
            costs = [
                sum(float(np.abs(side - np.median(c, axis=0)).sum()) for side in beside) for c in choices
            ]
            result[start:end] = choices[int(np.argmin(costs))]
        return result


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where `flags` are true in a row: start, end (not included)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def largest_channel(levels: NDArray[np.float32]) -> Levels:
    """The largest of the three colours, pixel by pixel."""
    return np.asarray(
        np.maximum(np.maximum(levels[..., 0], levels[..., 1]), levels[..., 2]), dtype=np.float32
    )


def part_difference(image: NDArray[np.float32], belt: NDArray[np.float32], polarity: Polarity) -> Levels:
    """By how many grey levels each pixel differs from the belt the way parts do; else 0 or less."""
    if polarity == "auto":
        return largest_channel(np.asarray(cv2.absdiff(image, belt), dtype=np.float32))
    delta = cv2.subtract(image, belt)
    mean = (delta[..., 0] + delta[..., 1] + delta[..., 2]) * np.float32(
        1 / 3 if polarity == "bright" else -1 / 3
    )
    return np.asarray(mean, dtype=np.float32)
