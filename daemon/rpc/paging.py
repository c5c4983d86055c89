"""Pages of a list (AIP-158): sizes, and opaque tokens bound to the arguments they were made for. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from lineside.daemon.rpc.errors import bad_field

DEFAULT_PAGE = 50
LARGEST_PAGE = 500
_VERSION = 1
MOST_DIGITS = 18

Item = TypeVar("Item")


def page_size(requested: int) -> int:
    """The size to use: 0 is the default, too large is the largest. Raises RpcFault when negative."""
    if requested < 0:
        raise bad_field("page_size", f"{requested} is negative")
    return min(requested or DEFAULT_PAGE, LARGEST_PAGE)


def encode_token(cursor: str, arguments: Mapping[str, str]) -> str:
    """A token that goes on after `cursor` in the list that `arguments` describe."""
    body = json.dumps([_VERSION, _digest(arguments), cursor], separators=(",", ":"))
    return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")


def decode_token(token: str, arguments: Mapping[str, str]) -> str | None:
    """The cursor of `token`; None for the empty token (the first page).

    Raises:
        RpcFault: INVALID_ARGUMENT when the token is not ours, or was made for other arguments.
    """
    if not token:
        return None
    try:
        body = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise bad_field("page_token", "not a token of this device: start from the first page") from error
    match body:
        case [int(version), str(digest), str(cursor)] if version == _VERSION:
            if digest != _digest(arguments):
                raise bad_field(
                    "page_token", "made for other arguments: keep them, or start from the first page"
                )
            return cursor
        case _:
            raise bad_field("page_token", "not a token of this device: start from the first page")


def number_of(cursor: str | None) -> int | None:
    """The number that a token of ours holds; None for the first page.

    Raises:
        RpcFault: it holds none that a table could have: the token was made up.
    """
    if cursor is None:
        return None
    found = whole_number(cursor)
    if found is None:
        raise bad_field("page_token", "not a token of this device: start from the first page")
    return found


def whole_number(text: str) -> int | None:
    """A number from 0 that fits into the database; None for any other text."""
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        return None
    return int(text)


def page_of(
    items: Sequence[Item],
    key: Callable[[Item], str],
    requested_size: int,
    token: str,
    arguments: Mapping[str, str],
) -> tuple[list[Item], str]:
    """One page of a short list held in memory, ordered by `key`, and the token of the next page."""
    size = page_size(requested_size)
    after = decode_token(token, arguments)
    left = sorted((item for item in items if after is None or key(item) > after), key=key)
    page = left[:size]
    return page, encode_token(key(page[-1]), arguments) if len(left) > size else ""


def _digest(arguments: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(arguments.items())).encode()).hexdigest()[:16]
