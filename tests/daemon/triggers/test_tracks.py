"""Following parts: each is judged exactly once, whatever the belt does. Rectangles only, no pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.daemon.triggers.motion.rect import Rect
from lineside.daemon.triggers.motion.tracks import Aim, Tracks
from lineside.daemon.triggers.options import Direction

VIEW = Rect(0, 0, 240, 135)
FRAME_NS = 33_000_000

Speed = Callable[[int], float]


@dataclass(frozen=True)
class Belt:
    """Parts of one size that follow each other; all numbers in pixels of the view."""

    parts: int
    along: float
    across: float
    pitch: float
    speed: Speed
    way: Direction = "right"
    sway: float = 0.0
    dropped: float = 0.0
    seed: int = 0

    def run(self, aim: Aim) -> tuple[Counter[int], dict[int, float], Tracks[int]]:
        """How often each part was judged, how far from the centre, and the tracks at the end."""
        rng = np.random.default_rng(self.seed)
        horizontal = self.way in ("right", "left")
        length = VIEW.width if horizontal else VIEW.height
        tracks: Tracks[int] = Tracks(aim)
        judged: Counter[int] = Counter()
        off: dict[int, float] = {}
        lanes = rng.uniform(-3, 3, self.parts)
        places: dict[int, dict[int, float]] = {}
        travelled, frame, last = 0.0, 0, -1
        while travelled < length + self.along + (self.parts - 1) * self.pitch + 5:
            first = max(int((travelled - self.along - length) / self.pitch), 0)
            near = range(first, min(int(travelled / self.pitch) + 1, self.parts))
            at = {k: travelled - k * self.pitch - self.along for k in near}
            places[frame] = {k: p for k, p in at.items() if -self.along < p < length}
            if rng.uniform() >= self.dropped:
                things = [self._thing(p, lanes[k], rng) for k, p in places[frame].items()]
                seen = [thing for thing in things if thing.area > 4]
                picks = tracks.see(seen, frame, frame * FRAME_NS, frame - last)
                last = frame
                for pick in picks:
                    self._note(pick.seen, pick.rect, lanes, places, judged, off)
            travelled += self.speed(frame)
            frame += 1
        for pick in tracks.finish():
            self._note(pick.seen, pick.rect, lanes, places, judged, off)
        return judged, off, tracks

    def _thing(self, place: float, lane: float, rng: np.random.Generator) -> Rect:
        length = VIEW.width if self.way in ("right", "left") else VIEW.height
        start = place if self.way in ("right", "down") else length - place - self.along
        low, high = start, start + self.along
        if self.way in ("right", "left"):
            middle = VIEW.height / 2 + lane
            whole = Rect(low, middle - self.across / 2, high, middle + self.across / 2)
        else:
            middle = VIEW.width / 2 + lane
            whole = Rect(middle - self.across / 2, low, middle + self.across / 2, high)
        jitter = rng.uniform(-self.sway, self.sway, 4)
        return Rect(*(round(edge + by) for edge, by in zip(whole, jitter, strict=True))).common(VIEW)

    def _note(
        self,
        frame: int,
        rect: Rect,
        lanes: np.ndarray,
        places: dict[int, dict[int, float]],
        judged: Counter[int],
        off: dict[int, float],
    ) -> None:
        still = np.random.default_rng(0)
        bare = {k: self._thing(p, lanes[k], still) for k, p in places[frame].items()}
        part = max(bare, key=lambda k: bare[k].likeness(rect))
        assert bare[part].likeness(rect) > 0.6, f"judged {rect} in frame {frame}, where there is no part"
        judged[part] += 1
        centre = places[frame][part] + self.along / 2
        off[part] = abs(centre - (VIEW.width if self.way in ("right", "left") else VIEW.height) / 2)


def aim(**changes: object) -> Aim:
    values: dict[str, object] = {
        "view": VIEW,
        "min_area": 100.0,
        "max_area": 0.8 * VIEW.area,
        "tolerance": 4.0,
        "direction": "any",
        "settle_ns": None,
    }
    return Aim(**{**values, **changes})  # type: ignore[arg-type]  # a test's own choice of fields


def each_once(parts: int) -> Counter[int]:
    return Counter(range(parts))


@st.composite
def belts(draw: st.DrawFn) -> Belt:
    way: Direction = draw(st.sampled_from(["right", "left", "up", "down"]))
    length, width = (240, 135) if way in ("right", "left") else (135, 240)
    along = draw(st.floats(0.12, 0.65)) * length
    pitch = along + draw(st.floats(10, 150))
    # At least two frames wholly in view and under half a pitch a frame: else no eye could tell them apart.
    fastest = min(0.45 * pitch, (length - along) / 2.5)
    base = draw(st.floats(0.3, 1.0)) * fastest
    manner = draw(st.sampled_from(["even", "waves", "stop and go", "jerks"]))
    speeds: dict[str, Speed] = {
        "even": lambda frame: base,
        "waves": lambda frame: base * (0.6 + 0.4 * float(np.sin(frame / 7))),
        "stop and go": lambda frame: base if (frame // 9) % 3 else 0.0,
        "jerks": lambda frame: base * (0.2 + 0.8 * ((frame * 7919) % 13) / 12),
    }
    return Belt(
        parts=draw(st.integers(3, 12)),
        along=along,
        across=draw(st.floats(0.15, 0.8)) * width,
        pitch=pitch,
        speed=speeds[manner],
        way=way,
        sway=draw(st.sampled_from([0.0, 0.4, 0.8])),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=40, deadline=None)
@given(belts())
def test_every_part_is_judged_exactly_once(belt: Belt) -> None:
    judged, _, tracks = belt.run(aim())

    assert judged == each_once(belt.parts)
    assert tracks.ignored == 0


@settings(max_examples=15, deadline=None)
@given(belts())
def test_knowing_the_way_changes_nothing_for_parts_that_go_it(belt: Belt) -> None:
    judged, _, _ = belt.run(aim(direction=belt.way))

    assert judged == each_once(belt.parts)


@pytest.mark.parametrize("seed", range(2))
def test_three_hundred_parts_at_the_demonstrations_pace(seed: int) -> None:
    belt = Belt(300, 102, 58, 150, lambda frame: 15.0, sway=0.6, seed=seed)

    judged, off, _ = belt.run(aim())

    assert judged == each_once(300)
    assert max(off.values()) <= 8.5  # half a frame's way and the sway


def test_parts_are_judged_within_half_a_step_of_the_centre() -> None:
    belt = Belt(40, 50, 40, 97.3, lambda frame: 21.7)

    _, off, _ = belt.run(aim(tolerance=0.0))

    assert max(off.values()) <= 21.7 / 2 + 1


@pytest.mark.parametrize("seed", range(3))
def test_frames_that_were_dropped_do_not_cost_a_part(seed: int) -> None:
    belt = Belt(60, 60, 50, 150, lambda frame: 9.0, sway=0.4, dropped=0.3, seed=seed)

    judged, _, _ = belt.run(aim())

    assert judged == each_once(60)


def test_a_part_that_stands_still_at_the_centre_for_long_is_judged_once() -> None:
    belt = Belt(3, 60, 50, 160, lambda frame: 0.0 if 20 <= frame < 1500 else 6.0)

    judged, _, _ = belt.run(aim())

    assert judged == each_once(3)


def test_a_part_that_stops_off_centre_is_judged_where_it_stands_after_a_while() -> None:
    tracks: Tracks[int] = Tracks(aim(settle_ns=1_000_000_000))
    judged_at = []
    for frame in range(200):
        x = min(frame * 5.0, 20.0)
        if tracks.see([Rect(x, 40, x + 60, 90)], frame, frame * FRAME_NS, 1):
            judged_at.append(frame)

    assert len(judged_at) == 1
    assert 30 <= judged_at[0] - 4 <= 34  # one second of frames after it stood


def test_going_back_and_forth_does_not_judge_again() -> None:
    tracks: Tracks[int] = Tracks(aim())
    picks = []
    for frame in range(300):
        x = 90 + 70 * float(np.sin(frame / 15))
        picks += tracks.see([Rect(x, 40, x + 60, 90)], frame, frame * FRAME_NS, 1)

    assert len(picks) == 1


def test_a_part_that_flickers_is_one_part() -> None:
    tracks: Tracks[int] = Tracks(aim())
    picks = []
    for frame in range(60):
        thing = Rect(frame * 5.0 - 60, 40, frame * 5.0, 90).common(VIEW)
        seen = [] if frame % 5 in (2, 3) or thing.area <= 0 else [thing]
        picks += tracks.see(seen, frame, frame * FRAME_NS, 1)
    picks += tracks.finish()

    assert len(picks) == 1


def test_a_part_that_falls_into_pieces_in_some_frames_is_one_part() -> None:
    tracks: Tracks[int] = Tracks(aim())
    picks = []
    for frame in range(60):
        whole = Rect(frame * 5.0 - 80, 40, frame * 5.0, 90).common(VIEW)
        pieces = [whole]
        if frame % 3 == 1 and whole.width > 60:
            pieces = [Rect(whole.x0, 40, whole.x0 + 25, 90), Rect(whole.x0 + 35, 40, whole.x1, 90)]
        picks += tracks.see([piece for piece in pieces if piece.area > 0], frame, frame * FRAME_NS, 1)
    picks += tracks.finish()

    assert len(picks) == 1


def test_a_part_too_long_for_the_view_is_counted_as_ignored_and_not_judged() -> None:
    judged, _, tracks = Belt(4, 260, 50, 400, lambda frame: 12.0).run(aim(max_area=VIEW.area))

    assert judged == Counter()
    assert tracks.ignored == 4


def test_a_part_that_goes_the_wrong_way_is_not_judged() -> None:
    judged, _, tracks = Belt(4, 60, 50, 150, lambda frame: 9.0, way="left").run(aim(direction="right"))

    assert judged == Counter()
    assert tracks.ignored == 0


def test_a_flash_of_one_frame_is_no_part() -> None:
    tracks: Tracks[int] = Tracks(aim())

    picks = [
        pick
        for frame in range(30)
        for pick in tracks.see([Rect(90, 40, 150, 90)] if frame == 10 else [], frame, frame * FRAME_NS, 1)
    ]

    assert picks == []


def test_the_last_part_in_view_is_judged_when_the_source_ends() -> None:
    tracks: Tracks[int] = Tracks(aim())
    for frame in range(4):
        assert tracks.see([Rect(5 + frame * 4, 40, 65 + frame * 4, 90)], frame, frame * FRAME_NS, 1) == []

    assert len(tracks.finish()) == 1
    assert tracks.finish() == []
