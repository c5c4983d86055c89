"""Canonical JSON after RFC 8785 (JCS): one value, one sequence of bytes, in every language.

Hashes of the chain are taken over these bytes, so that a plant can check them with any JCS library.
It knows nothing of results.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_SAFE_INTEGER = 2**53
"""Whole numbers beyond this lose digits in readers that hold numbers as doubles."""

_QUOTE = json.JSONEncoder(ensure_ascii=False).encode


class NotCanonical(ValueError):
    """A value that JSON cannot carry without loss: NaN, infinity, a huge integer, a broken string."""


def canonical_json(value: object) -> str:
    """The RFC 8785 text of a JSON value.

    Raises:
        NotCanonical: for what JSON cannot carry without loss; the message names the value.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def parse_canonical(text: str) -> Any:
    """The value of a JSON text; whole numbers beyond ±2^53 are doubles, as in every reader of doubles.

    Raises:
        ValueError: not JSON.
    """
    return json.loads(text, parse_int=_parse_integer)


def _parse_integer(digits: str) -> int | float:
    number = int(digits)
    return number if abs(number) <= MAX_SAFE_INTEGER else float(digits)


def sha256_hex(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _write(value: object, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, str):
        parts.append(_string(value))
    elif isinstance(value, int):
        parts.append(_integer(int(value)))
    elif isinstance(value, float):
        parts.append(_number(float(value)))
    elif isinstance(value, Mapping):
        _write_object(value, parts)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        parts.append("[")
        for position, item in enumerate(value):
            if position:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        raise NotCanonical(f"{type(value).__name__} is not a JSON value: {value!r:.80}")


def _write_object(value: Mapping[object, object], parts: list[str]) -> None:
    keys: list[str] = []
    for key in value:
        if not isinstance(key, str):
            raise NotCanonical(f"a key must be a string, not {key!r:.80}")
        keys.append(key)
    # RFC 8785 sorts by UTF-16 code units, which differs from code points beyond the basic plane.
    keys.sort(key=None if all(map(str.isascii, keys)) else _utf16)
    parts.append("{")
    for position, key in enumerate(keys):
        if position:
            parts.append(",")
        parts.append(_string(key))
        parts.append(":")
        _write(value[key], parts)
    parts.append("}")


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def _string(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NotCanonical(f"a string holds half a surrogate pair: {text!r:.80}") from error
    return _QUOTE(text)


def _integer(number: int) -> str:
    if abs(number) > MAX_SAFE_INTEGER:
        raise NotCanonical(f"the whole number {number} is beyond ±2^53")
    return str(number)


def _number(number: float) -> str:
    """A double as ECMAScript writes it (RFC 8785 section 3.2.2.3)."""
    if not math.isfinite(number):
        raise NotCanonical(f"{number} is not a JSON number")
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    # value = 0.DIGITS × 10^point, DIGITS without zeros at either end: repr gives the shortest digits.
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    return sign + _place(digits, point)


def _place(digits: str, point: int) -> str:
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = point - 1
    head = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{head}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
