"""What a client says about a part, checked: the same rules for TriggerStation and Inspect."""

from __future__ import annotations

from collections.abc import Mapping

from lineside.daemon.rpc.errors import bad_field

LONGEST_PART_ID = 200
LONGEST_REQUEST_ID = 128
MOST_EXPECTED = 64
LONGEST_EXPECTED = 1000


def checked_part_id(given: str | None) -> str | None:
    """The part's id as given. Raises RpcFault when it is empty, too long, or not printable."""
    if given is None:
        return None
    if not 1 <= len(given) <= LONGEST_PART_ID:
        raise bad_field(
            "part_id", f"1 to {LONGEST_PART_ID} characters are wanted; leave it out to have one made"
        )
    if not given.isprintable():
        raise bad_field("part_id", "holds a character that cannot be printed")
    return given


def checked_expected(given: Mapping[str, str]) -> dict[str, str]:
    """What the part should be. Raises RpcFault when there is too much of it."""
    if len(given) > MOST_EXPECTED:
        raise bad_field("expected", f"more than {MOST_EXPECTED} entries")
    if any(
        not key or len(key) > LONGEST_EXPECTED or len(text) > LONGEST_EXPECTED for key, text in given.items()
    ):
        raise bad_field("expected", f"a key or value is empty or longer than {LONGEST_EXPECTED} characters")
    return dict(given)


def checked_request_id(given: str) -> str | None:
    """The idempotency key; None when none was given. Raises RpcFault when too long."""
    if len(given) > LONGEST_REQUEST_ID:
        raise bad_field("request_id", f"longer than {LONGEST_REQUEST_ID} characters")
    return given or None
