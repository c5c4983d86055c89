"""Check digits: whether a code was read (and printed) right. Pure arithmetic.

Sources: GS1 General Specifications (modulo 10, weights 3 and 1), ISO/IEC 7812-1 (Luhn),
ISO/IEC 7064 (MOD 97-10). Characters that are no digits do not count for the first two.
"""

from __future__ import annotations

import string


def gs1(text: str) -> bool:
    """Whether the last digit is the GS1 check digit of the digits before it."""
    digits = _digits(text)
    if len(digits) < 2:
        return False
    total = sum(digit * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits[:-1])))
    return -total % 10 == digits[-1]


def luhn(text: str) -> bool:
    """Whether the last digit is the Luhn check digit of the digits before it."""
    digits = _digits(text)
    if len(digits) < 2:
        return False
    doubled = [digit * 2 if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def mod97(text: str) -> bool:
    """Whether the letters (A is 10, Z is 35) and digits, read as one number, leave 1 on division by 97."""
    signs = [sign for sign in text.upper() if sign in string.ascii_uppercase or sign in string.digits]
    if len(signs) < 3:
        return False
    return int("".join(str(int(sign, 36)) for sign in signs)) % 97 == 1


def _digits(text: str) -> list[int]:
    return [int(sign) for sign in text if sign in string.digits]


SCHEMES = {"gs1": gs1, "luhn": luhn, "mod97": mod97}
