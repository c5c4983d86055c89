"""How far everything moved between two looks: parts on one belt move together.

Tries what the edges suggest and keeps the shift that explains most: things seen again, things that must
have left the view, things that must have come into it. Edges at the view's border say nothing: the part
goes on outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lineside.daemon.triggers.motion.rect import Rect, touches

FAR = 1e5
RELUCTANCE = 1.0
"""What a shift must explain more when it differs by the whole view from every expected one.

Parts that follow each other evenly look the same after a step to the next one: a belt does not jump so."""

UNSEEN = 0.8
"""To have left, or to have just come, explains a thing less well than to be seen again."""

Shift = tuple[float, float]


def seen_after(rect: Rect, shift: Shift, view: Rect, margin: float) -> tuple[Rect, Rect]:
    """Where a thing is expected after a shift, inside the view: as it was, and as it may go on outside."""
    border = touches(rect, view, margin)
    longer = Rect(
        rect.x0 - FAR if border.left else rect.x0,
        rect.y0 - FAR if border.top else rect.y0,
        rect.x1 + FAR if border.right else rect.x1,
        rect.y1 + FAR if border.bottom else rect.y1,
    )
    return rect.moved(*shift).common(view), longer.moved(*shift).common(view)


def likeness_after(before: Rect, after: Rect, shift: Shift, view: Rect, margin: float) -> float:
    """How well `after` is `before` moved by `shift`, 0 to 1."""
    return max(expected.likeness(after) for expected in seen_after(before, shift, view, margin))


def common_shift(
    before: Sequence[Rect], after: Sequence[Rect], expected: Sequence[Shift], view: Rect, margin: float
) -> Shift:
    """The shift that explains most of what is seen; the first `expected` one where nothing says otherwise."""
    if not before or not after:
        return expected[0]

    def worth(shift: Shift) -> float:
        explained = 0.0
        places = [seen_after(b, shift, view, margin) for b in before]
        for b, (short, _) in zip(before, places, strict=True):
            covered = sum(short.common(a).area for a in after)  # in pieces, perhaps
            gone = 1.0 - short.area / b.area
            explained += max(covered / short.area if short.area > 0 else 0.0, UNSEEN * gone)
        for a in after:
            covered = sum(a.common(longer).area for _, longer in places)
            come = 1.0 - a.moved(-shift[0], -shift[1]).inside(view)
            explained += max(min(covered / a.area, 1.0), UNSEEN * come)
        off = min(abs(shift[0] - x) / view.width + abs(shift[1] - y) / view.height for x, y in expected)
        return explained / (len(before) + len(after)) - RELUCTANCE * off

    return max(dict.fromkeys(_suggested(before, after, expected, view, margin)), key=worth)


def _suggested(
    before: Sequence[Rect], after: Sequence[Rect], expected: Sequence[Shift], view: Rect, margin: float
) -> Iterable[Shift]:
    yield from expected
    for b in before:
        at_b = touches(b, view, margin)
        for a in after:
            at_a = touches(a, view, margin)
            across = [
                *([] if at_b.left or at_a.left else [a.x0 - b.x0]),
                *([] if at_b.right or at_a.right else [a.x1 - b.x1]),
            ] or [expected[0][0]]
            down = [
                *([] if at_b.top or at_a.top else [a.y0 - b.y0]),
                *([] if at_b.bottom or at_a.bottom else [a.y1 - b.y1]),
            ] or [expected[0][1]]
            yield from ((dx, dy) for dx in across for dy in down)
