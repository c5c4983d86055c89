"""Keeps passwords that stand inside URLs out of logs, states and error messages."""

from __future__ import annotations

import re

# Greedy up to the last @: a password may hold / and @, and hiding too much of a path does no harm.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s'\"]*@")
_QUERY = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|key|auth)=)[^&#\s'\"]*")


def masked_text(text: str) -> str:
    """`text` with the user and password of every URL in it, and secret query values, replaced by ***."""
    return _QUERY.sub(r"\g<key>***", _CREDENTIALS.sub(r"\g<scheme>***@", text))


def masked_url(url: str) -> str:
    """A URL as it may be shown: host and path stay, credentials go."""
    return masked_text(url)
