"""Follows each part through the view and names the frame on which it is judged, once.

Works in pixels of the reduced view. Knows rectangles and frames' times; never looks at a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lineside.daemon.triggers.motion.matching import MARGIN, match
from lineside.daemon.triggers.motion.rect import Rect, touches
from lineside.daemon.triggers.motion.shift import Shift, common_shift
from lineside.daemon.triggers.options import Direction

Seen = TypeVar("Seen")
"""What a look carries along for the frame that will be judged."""

COAST_FRAMES = 8
"""How long a part that is not seen is believed to travel on."""
STEADY = 2.0
"""Pixels a frame by which an even speed may change."""
SWAY = 0.6
"""Pixels a standing part seems to move by noise."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What counts as a part and when it is judged, in pixels of the reduced view and nanoseconds."""

    view: Rect
    min_area: float
    max_area: float
    tolerance: float
    direction: Direction
    settle_ns: int | None


@dataclass(frozen=True, slots=True)
class Best(Generic[Seen]):
    """The best look at a part so far."""

    rect: Rect
    seen: Seen


@dataclass(slots=True)
class Track(Generic[Seen]):
    """One part on its way."""

    rect: Rect
    born: Rect
    since_still_ns: int
    best: Best[Seen] | None = None
    last_shift: Shift = (0.0, 0.0)
    looks: int = 1
    unseen: int = 0
    judged: bool = False
    substantial: bool = False


@dataclass(frozen=True, slots=True)
class Pick(Generic[Seen]):
    """A part to judge: where it was on which look."""

    rect: Rect
    seen: Seen


@dataclass
class Tracks(Generic[Seen]):
    """All parts in view."""

    aim: Aim
    tracks: list[Track[Seen]] = field(default_factory=list)
    speed: Shift = (0.0, 0.0)  # of the belt, pixels a frame
    cruise: Shift = (0.0, 0.0)  # the belt's speed when it last ran evenly: what it starts again with
    ignored: int = 0

    def see(self, things: Sequence[Rect], seen: Seen, at_ns: int, frames: int) -> list[Pick[Seen]]:
        """The things in the next look, `frames` frames after the last one; the parts to judge now."""
        expected = [(x * frames, y * frames) for x, y in (self.speed, self.cruise, (0.0, 0.0))]
        shift = common_shift([t.rect for t in self.tracks], things, expected, self.aim.view, MARGIN)
        if self._follow(things, shift, at_ns):
            before, self.speed = self.speed, (shift[0] / frames, shift[1] / frames)
            if (
                max(abs(self.speed[0] - before[0]), abs(self.speed[1] - before[1]))
                < STEADY
                < _length(self.speed)
            ):
                self.cruise = self.speed
        picks: list[Pick[Seen]] = []
        for track in self.tracks:
            if track.unseen == 0 and not track.judged:
                picks += self._consider(track, seen, at_ns)
        picks += self._leave()
        return picks

    def finish(self) -> list[Pick[Seen]]:
        """No more looks come: parts seen whole and not judged yet."""
        picks = [pick for track in self.tracks for pick in self._close(track)]
        self.tracks.clear()
        self.speed = self.cruise = (0.0, 0.0)
        return picks

    def is_part(self, thing: Rect) -> bool:
        """Whether a thing may be a part, as far as it is in view."""
        if thing.area > self.aim.max_area:
            return False
        return thing.area >= self.aim.min_area or touches(thing, self.aim.view, MARGIN).any

    def _follow(self, things: Sequence[Rect], shift: Shift, at_ns: int) -> bool:
        """Gives every thing to its track, or a new track to the thing; whether any track was seen again."""
        matches = match([track.rect for track in self.tracks], things, shift, self.aim.view)
        for track, rect in zip(self.tracks, matches.seen, strict=True):
            if rect is None:
                track.unseen += 1
                track.rect = track.rect.moved(*shift)
            else:
                self._move(track, rect, self._own_shift(track, rect, shift), at_ns)
        self.tracks += [Track(thing, thing, at_ns) for thing in matches.new]
        return any(rect is not None for rect in matches.seen)

    def _own_shift(self, track: Track[Seen], found: Rect, shift: Shift) -> Shift:
        view = self.aim.view
        if touches(found, view, MARGIN).any or touches(track.rect, view, MARGIN).any:
            return shift
        return (found.centre[0] - track.rect.centre[0], found.centre[1] - track.rect.centre[1])

    def _move(self, track: Track[Seen], rect: Rect, shift: Shift, at_ns: int) -> None:
        if abs(shift[0]) > SWAY or abs(shift[1]) > SWAY:
            track.since_still_ns = at_ns
        track.rect, track.last_shift = rect, shift
        track.looks += 1
        track.unseen = 0

    def _consider(self, track: Track[Seen], seen: Seen, at_ns: int) -> list[Pick[Seen]]:
        """Notes this look if it is the best so far, and judges when no better one will come."""
        rect, aim = track.rect, self.aim
        if aim.min_area <= rect.area <= aim.max_area:
            track.substantial = True
            if not touches(rect, aim.view, MARGIN).any:
                return self._consider_whole(track, seen, at_ns)
        if track.best is not None and touches(rect, aim.view, MARGIN).any:
            return self._judge(track)  # on its way out
        return []

    def _consider_whole(self, track: Track[Seen], seen: Seen, at_ns: int) -> list[Pick[Seen]]:
        aim = self.aim
        now = self._off_centre(track, track.rect)
        if track.best is None or now <= self._off_centre(track, track.best.rect):
            track.best = Best(track.rect, seen)
        best = self._off_centre(track, track.best.rect)
        settled = aim.settle_ns is not None and at_ns - track.since_still_ns >= aim.settle_ns
        passed = now > best + 2 * SWAY
        will_pass = self._off_centre(track, track.rect.moved(*track.last_shift)) >= now and self._moves(track)
        if (now <= aim.tolerance or passed or will_pass or settled) and track.looks >= 2:
            return self._judge(track)
        return []

    def _moves(self, track: Track[Seen]) -> bool:
        return max(abs(track.last_shift[0]), abs(track.last_shift[1])) > 2 * SWAY

    def _off_centre(self, track: Track[Seen], rect: Rect) -> float:
        """Pixels from the view's centre, along the way the part travels once that is known."""
        (x, y), (cx, cy) = rect.centre, self.aim.view.centre
        axis = self._axis(track)
        if axis == "across":
            return abs(x - cx)
        if axis == "down":
            return abs(y - cy)
        return float(((x - cx) ** 2 + (y - cy) ** 2) ** 0.5)

    def _axis(self, track: Track[Seen]) -> str | None:
        dx, dy = self._travelled(track)
        if max(abs(dx), abs(dy)) <= 2 * SWAY:
            return None
        return "across" if abs(dx) >= abs(dy) else "down"

    def _travelled(self, track: Track[Seen]) -> Shift:
        if max(abs(self.speed[0]), abs(self.speed[1])) > SWAY:
            return self.speed
        return (
            track.rect.centre[0] - track.born.centre[0],
            track.rect.centre[1] - track.born.centre[1],
        )

    def _goes_right_way(self, track: Track[Seen]) -> bool:
        if self.aim.direction == "any" or self._axis(track) is None:
            return True
        dx, dy = track.rect.centre[0] - track.born.centre[0], track.rect.centre[1] - track.born.centre[1]
        match self.aim.direction:
            case "right":
                return dx > abs(dy)
            case "left":
                return -dx > abs(dy)
            case "down":
                return dy > abs(dx)
            case "up":
                return -dy > abs(dx)

    def _judge(self, track: Track[Seen]) -> list[Pick[Seen]]:
        assert track.best is not None
        if not self._goes_right_way(track):
            return []
        track.judged = True
        return [Pick(track.best.rect, track.best.seen)]

    def _leave(self) -> list[Pick[Seen]]:
        """Lets go of parts that are out of view or not seen for long."""
        picks: list[Pick[Seen]] = []
        staying: list[Track[Seen]] = []
        for track in self.tracks:
            out = track.rect.common(self.aim.view).area <= 0
            if track.unseen > COAST_FRAMES or (track.unseen > 0 and out):
                picks += self._close(track)
            else:
                staying.append(track)
        self.tracks = staying
        return picks

    def _close(self, track: Track[Seen]) -> list[Pick[Seen]]:
        if track.judged:
            return []
        if track.best is not None and track.looks >= 2:
            return self._judge(track)
        if track.substantial and track.looks >= 2 and self._goes_right_way(track):
            self.ignored += 1
        return []


def _length(shift: Shift) -> float:
    return max(abs(shift[0]), abs(shift[1]))
