"""Which version of an engine one may not go below: an old bundle, well signed, may hold a mended fault.

The floor of a name is the highest version of it that ever judged here. Going back one step is a rollback and
stays possible; installing anything older asks for it in so many words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PIECE = re.compile(r"[0-9]+|[a-z]+")
Order = tuple[tuple[int, int, str], ...]


def order_of(version: str) -> Order:
    """Sorts versions as people do: numbers as numbers, `1.0-rc1` before `1.0`, any text by its letters."""
    found = _PIECE.findall(version.lower())
    pieces = tuple((1, int(piece), "") if piece.isdigit() else (-1, 0, piece) for piece in found)
    # The end of a version lies between a word, which marks what comes before it, and a further number.
    return (*pieces, (0, 0, ""))


def below(floors: Mapping[str, str], name: str, version: str) -> str | None:
    """The floor that this version lies below; None when it may be installed."""
    floor = floors.get(name)
    return floor if floor is not None and order_of(version) < order_of(floor) else None


def raised(floors: Mapping[str, str], name: str, version: str) -> dict[str, str]:
    """The floors once this version judges."""
    known = floors.get(name)
    if known is not None and order_of(version) <= order_of(known):
        return dict(floors)
    return {**floors, name: version}
