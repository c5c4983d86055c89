"""Passwords: what is accepted, and how they are kept (scrypt, a salt each)."""

from __future__ import annotations

from werkzeug.security import check_password_hash, generate_password_hash

SHORTEST, LONGEST = 12, 256
METHOD = "scrypt:32768:8:1"
NOBODY = generate_password_hash("a password nobody has", method=METHOD)
"""Compared with where there is no such user, so that the answer takes as long."""


class WeakPassword(ValueError):
    """A password that is not accepted; the message says why."""


def hash_password(password: str, name: str) -> str:
    """What is kept instead of a password.

    Raises:
        WeakPassword: too short or long, all alike, or the person's own name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(
            f"a password has {SHORTEST} to {LONGEST} characters: a sentence is easiest to keep"
        )
    if len(set(password)) < 5:
        raise WeakPassword("this password is too simple: use more than four different characters")
    if password.casefold().replace(" ", "") in (name.casefold(), name.casefold() * 2, name.casefold() * 3):
        raise WeakPassword("a password must not be made of the user's name")
    return generate_password_hash(password, method=METHOD)


def is_right(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was kept; takes as long when there is none."""
    right = check_password_hash(kept or NOBODY, password[:LONGEST])
    return right and kept is not None
