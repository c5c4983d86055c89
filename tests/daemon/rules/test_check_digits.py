"""Check digits against published examples, and against what they exist for: one wrong digit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.rules.check_digits import SCHEMES, gs1, luhn, mod97


@pytest.mark.parametrize("code", ["6291041500213", "629-1041-50021-3", "036000291452", "96385074"])
def test_gs1_takes_the_standards_examples(code: str) -> None:
    assert gs1(code)


@pytest.mark.parametrize("code", ["79927398713", "4111 1111 1111 1111"])
def test_luhn_takes_well_known_numbers(code: str) -> None:
    assert luhn(code)


@pytest.mark.parametrize("code", ["GB82WEST12345698765432"[4:] + "GB82", "794" + "44"])
def test_mod97_takes_an_account_number_with_its_head_at_the_end_and_the_standards_example(code: str) -> None:
    assert mod97(code)


@given(st.text(alphabet="0123456789", min_size=1, max_size=30), st.integers(0, 30), st.integers(1, 9))
def test_exactly_one_last_digit_is_right_and_any_single_misread_is_noticed(
    body: str, at: int, by: int
) -> None:
    for scheme in (gs1, luhn):
        right = [body + digit for digit in "0123456789" if scheme(body + digit)]
        assert len(right) == 1
        code = right[0]
        place = at % len(code)
        misread = code[:place] + str((int(code[place]) + by) % 10) + code[place + 1 :]
        assert not scheme(misread)


@given(st.text(max_size=200))
def test_no_text_is_too_odd_to_be_checked(text: str) -> None:
    assert all(scheme(text) in (True, False) for scheme in SCHEMES.values())


@pytest.mark.parametrize("text", ["", "7", "A", "²³", "٣٤"])
def test_what_holds_no_check_digit_does_not_pass(text: str) -> None:
    assert not any(scheme(text) for scheme in SCHEMES.values())
