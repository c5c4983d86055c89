"""Which of the things seen now is which of the parts followed so far. Pure; knows rectangles only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lineside.daemon.triggers.motion.rect import Rect
from lineside.daemon.triggers.motion.shift import Shift, likeness_after, seen_after

MARGIN = 1.0
"""A thing nearer to the view's border than this may go on outside."""
ALIKE = 0.1
"""Least likeness to be the same part after the common shift."""
NEAR = 0.5
"""A part that moves on its own is looked for within this share of its shorter side."""


@dataclass(frozen=True, slots=True)
class Matches:
    """`seen[i]`: where part `i` is now, None where it is not seen. `new`: things that are no part so far."""

    seen: tuple[Rect | None, ...]
    new: tuple[Rect, ...]


def match(parts: Sequence[Rect], things: Sequence[Rect], shift: Shift, view: Rect) -> Matches:
    """Gives each thing to at most one part; a part may be seen in several pieces."""
    seen: list[Rect | None] = [_run_together(i, parts, things, shift, view) for i in range(len(parts))]
    left = list(things)
    for index, found in _alike(parts, seen, things, shift, view):
        seen[index] = found
        left.remove(found)
    for i, part in enumerate(parts):
        here = seen_after(part, shift, view, MARGIN)[0].grown(2 * MARGIN)
        now = seen[i]
        if now is not None:
            for piece in [thing for thing in left if thing.inside(here) > 0.7]:
                now = now.union(piece)
                left.remove(piece)
            seen[i] = now
    for i, part in enumerate(parts):
        if seen[i] is None and (found_alone := _on_its_own(part, left, shift, view)) is not None:
            seen[i] = found_alone
            left.remove(found_alone)
    known = [rect for rect in seen if rect is not None]
    # What covers parts that run together is neither of them, and no new one.
    new = tuple(thing for thing in left if not any(rect.inside(thing.grown(MARGIN)) > 0.8 for rect in known))
    return Matches(tuple(seen), new)


def _alike(
    parts: Sequence[Rect], seen: Sequence[Rect | None], things: Sequence[Rect], shift: Shift, view: Rect
) -> list[tuple[int, Rect]]:
    """Parts and things that look most alike after the shift, each once, the most alike first."""
    pairs = [
        (likeness_after(part, thing, shift, view, MARGIN), i, j)
        for i, part in enumerate(parts)
        if seen[i] is None
        for j, thing in enumerate(things)
    ]
    taken_parts: set[int] = set()
    taken_things: set[int] = set()
    found: list[tuple[int, Rect]] = []
    for likeness, i, j in sorted(pairs, reverse=True):
        if likeness < ALIKE:
            break
        if i not in taken_parts and j not in taken_things:
            taken_parts.add(i)
            taken_things.add(j)
            found.append((i, things[j]))
    return found


def _run_together(
    i: int, parts: Sequence[Rect], things: Sequence[Rect], shift: Shift, view: Rect
) -> Rect | None:
    """Where part `i` must be when one thing covers it and another part: two that touch in the picture."""
    here = parts[i].moved(*shift).common(view)
    if here.area <= 0:
        return None
    others = [part.moved(*shift).common(view) for j, part in enumerate(parts) if j != i]
    for thing in things:
        covers = here.inside(thing) > 0.8 and thing.area > 1.5 * here.area
        if covers and any(o.area > 0.3 * here.area and o.inside(thing) > 0.8 for o in others):
            return here
    return None


def _on_its_own(part: Rect, things: Sequence[Rect], shift: Shift, view: Rect) -> Rect | None:
    """A thing of about the same size near where the part was: parts that do not move together.

    Not for a part that the common shift takes out of the view: it has left.
    """
    if part.moved(*shift).inside(view) < 0.5:
        return None
    x, y = part.centre
    reach = NEAR * min(part.width, part.height)
    near = [
        thing
        for thing in things
        if abs(thing.centre[0] - x) + abs(thing.centre[1] - y) < reach
        and 0.5 < thing.area / max(part.area, 1.0) < 2
    ]
    return near[0] if near else None
