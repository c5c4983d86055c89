"""Where the reading of a prompt is interrupted, so that what comes before can be kept for other prompts.

The places follow from the prompt alone, never from what was asked before: whatever is kept or forgotten, the
same tokens are always read in the same pieces, and so the same question has the same answer to the last bit.
Knows token places; does not know states.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from lineside.engines.chat import VisionShape
from lineside.engines.positions import Integers

GRID = 64
"""Fixed words are read in pieces of this many tokens: prompts that part within them can share some."""


class Place(Enum):
    """Why there is a cut."""

    GRID = "a whole number of pieces into the fixed words"
    WORDS = "the end of the fixed words, before the first picture"
    PICTURE = "the end of a picture that another one follows"
    PICTURES = "the end of the last picture, before a question of its own"


@dataclass(frozen=True, slots=True)
class Cut:
    """`at`: how many tokens come before."""

    at: int
    place: Place


def cuts_of(
    tokens: int, words: int, image_index: Integers, visions: Sequence[VisionShape], *, question: bool
) -> tuple[Cut, ...]:
    """The cuts of a prompt of `tokens` tokens, in order.

    `words`: how many tokens the fixed words have; `image_index`: [tokens], −1 for text; `question`: whether
    words that may differ from question to question follow the pictures.
    """
    found = [Cut(at, Place.GRID) for at in range(GRID, words, GRID)]
    if words:
        found.append(Cut(words, Place.WORDS))
    pictures = np.flatnonzero(image_index >= 0)
    done = 0
    for number, vision in enumerate(visions):
        done += vision.tokens
        is_last = number == len(visions) - 1
        if not is_last or question:
            found.append(Cut(int(pictures[done - 1]) + 1, Place.PICTURES if is_last else Place.PICTURE))
    # Something must be left to read, or there are no logits.
    return tuple(cut for cut in found if cut.at < tokens)


def sealed(keys: Integers, cuts: Sequence[Cut]) -> Integers:
    """The keys up to the last cut, changed so that pieces that differ anywhere differ from the first key on.

    Some operators (a mixture of experts) give a token's results other last bits with other neighbours, so
    what a piece left behind may be shared whole or not at all.
    """
    sealed_keys = keys[: cuts[-1].at if cuts else 0].copy()
    start = 0
    for cut in cuts:
        piece = sealed_keys[start : cut.at]
        digest = hashlib.blake2b(piece.tobytes(), digest_size=8).digest()
        piece ^= np.int64(int.from_bytes(digest, "little", signed=True))
        start = cut.at
    return sealed_keys
