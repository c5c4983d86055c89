"""The 5x7 dot-matrix alphabet an ink-jet coder prints, so that text looks the same on every machine.

Knows bit patterns only: one byte per column, lowest bit on top. Does not know where or in what ink it is
printed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROWS, COLUMNS = 7, 5

_COLUMN_BYTES = {
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31", "4": "1814127f10",
    "5": "2745454539", "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "A": "7e1111117e", "B": "7f49494936", "C": "3e41414122", "D": "7f4141221c", "E": "7f49494941",
    "F": "7f09090901", "G": "3e4149497a", "H": "7f0808087f", "J": "2040413f01", "K": "7f08142241",
    "L": "7f40404040", "M": "7f020c027f", "N": "7f0408107f", "P": "7f09090906",
    "R": "7f09192946", "S": "4649494931", "T": "01017f0101", "U": "3f4040403f", "V": "1f2040201f",
    "W": "3f4038403f", "X": "6314081463", "Y": "0708700807", "Z": "6151494543", " ": "0000000000",
}  # fmt: skip


def glyph_dots(character: str) -> npt.NDArray[np.float32]:
    """Centres (column, row) of the printed dots of one character; a character without a glyph is refused."""
    columns = bytes.fromhex(_COLUMN_BYTES[character])
    dots = [(x, y) for x, byte in enumerate(columns) for y in range(ROWS) if byte >> y & 1]
    return np.array(dots, dtype=np.float32).reshape(-1, 2)


def text_dots(text: str, advance: float = 6.0) -> npt.NDArray[np.float32]:
    """Dot centres of a whole line, in dots, the first character starting at column 0."""
    shifted = [glyph_dots(c) + np.array([i * advance, 0.0], dtype=np.float32) for i, c in enumerate(text)]
    return np.concatenate(shifted) if shifted else np.zeros((0, 2), dtype=np.float32)
