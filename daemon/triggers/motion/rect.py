"""Upright rectangles in pixels, and the few questions the trigger asks of them."""

from __future__ import annotations

from typing import NamedTuple


class Rect(NamedTuple):
    """x0, y0, x1, y1; the right and lower edges are the first pixels outside."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Pixels across."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Pixels down."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Square pixels; 0 for an empty one."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        """x, y."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def moved(self, dx: float, dy: float) -> Rect:
        """The same rectangle elsewhere."""
        return Rect(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def grown(self, margin: float) -> Rect:
        """Larger by `margin` on each side."""
        return Rect(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    def common(self, other: Rect) -> Rect:
        """Where both are; its area is 0 when they do not meet."""
        return Rect(
            max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1)
        )

    def union(self, other: Rect) -> Rect:
        """The smallest rectangle around both."""
        return Rect(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )

    def likeness(self, other: Rect) -> float:
        """Common area over joint area, 0 to 1."""
        common = self.common(other).area
        joint = self.area + other.area - common
        return common / joint if joint > 0 else 0.0

    def inside(self, other: Rect) -> float:
        """The share of this rectangle that lies in the other."""
        return self.common(other).area / self.area if self.area > 0 else 0.0


class Borders(NamedTuple):
    """Which borders of the view a rectangle touches: what touches may go on outside."""

    left: bool
    top: bool
    right: bool
    bottom: bool

    @property
    def any(self) -> bool:
        """Whether part of the thing may be out of view."""
        return self.left or self.top or self.right or self.bottom


def touches(rect: Rect, view: Rect, margin: float) -> Borders:
    """The borders of `view` that `rect` comes nearer to than `margin`."""
    return Borders(
        rect.x0 < view.x0 + margin,
        rect.y0 < view.y0 + margin,
        rect.x1 > view.x1 - margin,
        rect.y1 > view.y1 - margin,
    )
