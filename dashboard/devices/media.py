"""What kind of picture some bytes are, by their first bytes: never by what somebody says they are."""

from __future__ import annotations


def media_type_of(data: bytes) -> str | None:
    """`image/jpeg`, `image/png` or `image/webp`; None for anything else, which is then not served."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
