"""Boxes in fractions of a picture, as people write them: checked once, here."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from lineside.daemon.values import Box
from lineside.daemon.yamlfile import located

_Fraction = Annotated[float, Field(ge=0, le=1)]


def _ordered(box: Box) -> Box:
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise located([((), f"must be x0, y0, x1, y1 with x0 < x1 and y0 < y1; here it is {list(box)}")])
    return box


BoxOption = Annotated[tuple[_Fraction, _Fraction, _Fraction, _Fraction], AfterValidator(_ordered)]
"""x0, y0, x1, y1 in fractions 0 to 1, top left corner first."""
