"""Parts as they are meant: codes, check digits, good and bad."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.engines.demo.truth import (
    CAP_CLASSES,
    CODE_LETTERS,
    MISPRINTS,
    PartTruth,
    balanced_truth,
    check_digit,
    code_is_valid,
    random_code,
    random_truth,
)

digits = st.text("0123456789", min_size=4, max_size=4)


@pytest.mark.parametrize(("body", "digit"), [("4821", "7"), ("629104150021", "3"), ("0000", "0")])
def test_check_digit_of_known_numbers(body: str, digit: str) -> None:
    assert check_digit(body) == digit


@settings(deadline=None)
@given(st.sampled_from(CODE_LETTERS), digits, st.integers(0, 3), st.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(letter: str, body: str, place: int, by: int) -> None:
    code = letter + body + check_digit(body)
    wrong = str((int(body[place]) + by) % 10)

    assert code_is_valid(code)
    assert not code_is_valid(code[: place + 1] + wrong + code[place + 2 :])


@pytest.mark.parametrize("code", ["", "K4821", "O48217", "k48217", "K4821x", "448217", "K482177"])
def test_codes_of_the_wrong_shape_are_invalid(code: str) -> None:
    assert not code_is_valid(code)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_random_codes_are_as_valid_as_asked(seed: int, valid: bool) -> None:
    assert code_is_valid(random_code(np.random.default_rng(seed), valid=valid)) is valid


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_random_parts_are_consistent(seed: int, good_share: float) -> None:
    rng = np.random.default_rng(seed)
    for truth in (random_truth(rng, good_share), balanced_truth(rng)):
        assert truth.cap in CAP_CLASSES
        assert 0 <= truth.tablets <= 6
        assert truth.code_valid == code_is_valid(truth.code)
        assert 0.0 <= truth.severity <= 1.0
        assert (truth.misprint in MISPRINTS) == (truth.cap == "misprinted")
        assert truth.cap != "ok" or truth.severity == 0.0


def test_the_good_share_is_kept() -> None:
    rng = np.random.default_rng(5)

    good = sum(random_truth(rng, 0.8).good for _ in range(2000)) / 2000

    assert 0.77 < good < 0.83


def test_a_part_is_good_only_in_every_respect() -> None:
    assert PartTruth("ok", 6, "K48217", True).good
    assert not PartTruth("cracked", 6, "K48217", True).good
    assert not PartTruth("ok", 5, "K48217", True).good
    assert not PartTruth("ok", 6, "K48210", False).good
