"""The stored pictures of a device, fetched when somebody looks, checked against their hash, kept bounded.

An evidence id is the sha256 of the file: a picture that does not match it is refused, not shown.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable

from lineside.dashboard.devices.cache import PictureCache
from lineside.dashboard.devices.channel import Channel, PictureRefused
from lineside.dashboard.devices.media import media_type_of
from lineside.dashboard.devices.values import Picture

EVIDENCE_ID = re.compile(r"[0-9a-f]{64}")
MOST_BYTES = 64 * 1024 * 1024
MOST_PICTURES = 2000


class EvidencePictures:
    """Stored pictures of one device."""

    def __init__(self, channel: Channel, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._cache = PictureCache(
            most_bytes=MOST_BYTES, most_pictures=MOST_PICTURES, keep_s=None, monotonic=monotonic
        )

    def get(self, evidence_id: str) -> Picture:
        """The picture of that id.

        Raises:
            grpc.RpcError: the device does not answer, or has it no more (NOT_FOUND).
            PictureRefused: what came is not that picture, or not a picture.
        """
        return self._cache.get(evidence_id, lambda: self._fetch(evidence_id))

    def _fetch(self, evidence_id: str) -> Picture:
        data = self._channel.evidence(evidence_id)
        if hashlib.sha256(data).hexdigest() != evidence_id:
            raise PictureRefused(f"evidence {evidence_id} does not match its hash")
        media_type = media_type_of(data)
        if media_type is None:
            raise PictureRefused(f"evidence {evidence_id} is not a JPEG, PNG or WebP")
        return Picture(media_type, data)
