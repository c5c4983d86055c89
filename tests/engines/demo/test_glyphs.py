"""The dot-matrix alphabet has every character a code may hold, all different."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lineside.engines.demo.glyphs import COLUMNS, ROWS, glyph_dots, text_dots
from lineside.engines.demo.truth import CODE_LETTERS


def test_every_code_character_has_its_own_pattern() -> None:
    patterns = {c: frozenset(map(tuple, glyph_dots(c).tolist())) for c in CODE_LETTERS + "0123456789"}

    for a, b in itertools.combinations(patterns, 2):
        assert len(patterns[a] ^ patterns[b]) >= 2, (a, b)
    assert all(0 <= x < COLUMNS and 0 <= y < ROWS for dots in patterns.values() for x, y in dots)


def test_a_line_of_text_advances_by_one_cell_and_a_gap() -> None:
    line = text_dots("11")

    np.testing.assert_allclose(line[len(line) // 2 :, 0] - line[: len(line) // 2, 0], 6.0)
    assert text_dots("").shape == (0, 2)


def test_a_character_without_a_glyph_is_refused() -> None:
    with pytest.raises(KeyError):
        glyph_dots("O")
