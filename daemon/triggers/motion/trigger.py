"""The motion trigger: one hit for each part that travels through its region, with the part's tight box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.daemon.triggers.base import TriggerHit
from lineside.daemon.triggers.motion.background import Background, Mask
from lineside.daemon.triggers.motion.blobs import raised_pixels, things_in
from lineside.daemon.triggers.motion.rect import Rect
from lineside.daemon.triggers.motion.refine import box_at
from lineside.daemon.triggers.motion.tracks import Aim, Pick, Tracks
from lineside.daemon.triggers.motion.view import View, view_of
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import Frame

SMALLEST_SHARE = 0.15
"""Things smaller than this share of the smallest part are not even followed."""


@dataclass(frozen=True, slots=True)
class Look:
    """A frame with the belt it was seen against, kept until its parts are judged."""

    frame: Frame
    belt: NDArray[np.float32]


class MotionTrigger:
    """Follows parts by their difference from the belt. A change of picture size starts it afresh."""

    def __init__(self, options: MotionOptions) -> None:
        self._options = options
        self._view: View | None = None
        self._background: Background | None = None
        self._tracks: Tracks[Look] | None = None
        self._last_index = -1
        self._ignored_before = 0

    @property
    def ignored(self) -> int:
        """Parts that went through and were never wholly in view."""
        return self._ignored_before + (self._tracks.ignored if self._tracks is not None else 0)

    def see(self, frame: Frame) -> tuple[TriggerHit, ...]:
        """The next frame; the parts to judge now. Raises ValueError: the region is too small."""
        hits: tuple[TriggerHit, ...] = ()
        height, width = frame.image.shape[:2]
        if self._view is not None and (
            (self._view.frame_width, self._view.frame_height) != (width, height)
            or frame.index <= self._last_index
        ):
            hits = self.finish()
        if self._view is None:
            self._start(frame)
        assert self._view is not None
        assert self._background is not None
        assert self._tracks is not None
        gap = max(frame.index - self._last_index, 1) if self._last_index >= 0 else 1
        self._last_index = frame.index
        small = self._view.reduce(frame.image)
        difference = self._background.difference(small)
        raised = raised_pixels(difference, self._options.min_contrast)
        smallest = SMALLEST_SHARE * self._options.min_area * self._view.bounds.area
        things = things_in(raised, smallest)
        look = Look(frame, self._background.levels.copy())
        picks = self._tracks.see(things, look, frame.captured_ns, gap)
        self._background.learn(small, raised, self._part_pixels(things))
        return hits + tuple(self._hit(pick, frame.captured_ns) for pick in picks)

    def finish(self) -> tuple[TriggerHit, ...]:
        """Parts in view that were seen whole and not judged yet; then all is forgotten."""
        if self._tracks is None:
            return ()
        picks = self._tracks.finish()
        hits = tuple(self._hit(pick, pick.seen.frame.captured_ns) for pick in picks)
        self._ignored_before += self._tracks.ignored
        self._view = self._background = self._tracks = None
        self._last_index = -1
        return hits

    def _start(self, frame: Frame) -> None:
        options = self._options
        view = view_of(frame.image, options.region)
        area = view.bounds.area
        vertical = options.direction in ("up", "down")
        self._view = view
        self._background = Background(options.polarity, options.min_contrast, vertical=vertical)
        self._tracks = Tracks(
            Aim(
                view=view.bounds,
                min_area=options.min_area * area,
                max_area=options.max_area * area,
                tolerance=options.centre_tolerance * max(view.width, view.height),
                direction=options.direction,
                settle_ns=None if options.settle_ms is None else options.settle_ms * 1_000_000,
            )
        )

    def _part_pixels(self, things: list[Rect]) -> Mask:
        assert self._view is not None
        assert self._tracks is not None
        pixels = np.zeros((self._view.height, self._view.width), bool)
        for thing in things:
            if self._tracks.is_part(thing):
                pixels[int(thing.y0) : math.ceil(thing.y1), int(thing.x0) : math.ceil(thing.x1)] = True
        return pixels

    def _hit(self, pick: Pick[Look], at_ns: int) -> TriggerHit:
        assert self._view is not None
        box = box_at(pick.seen.frame.image, self._view, pick.rect, pick.seen.belt, self._options)
        return TriggerHit(pick.seen.frame, box, at_ns)
