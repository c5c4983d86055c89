"""The newest frame of a device's cameras, fetched when somebody looks and kept for a moment.

However many browsers look, a device is asked for a camera's frame about once every KEEP_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.cache import PictureCache
from lineside.dashboard.devices.channel import Channel, PictureRefused
from lineside.dashboard.devices.media import media_type_of
from lineside.dashboard.devices.values import Picture

KEEP_S = 0.4
WIDEST = 960
"""Pixels: a frame here is a small live view; the judged picture comes from the evidence."""


class Frames:
    """Newest frames of one device."""

    def __init__(self, channel: Channel, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._cache = PictureCache(
            most_bytes=32 * 1024 * 1024, most_pictures=64, keep_s=KEEP_S, monotonic=monotonic
        )

    def newest(self, camera: str) -> Picture:
        """The camera's newest frame.

        Raises:
            grpc.RpcError: the device does not answer, or has no frame.
            PictureRefused: what came is not a picture.
        """
        return self._cache.get(camera, lambda: self._fetch(camera))

    def _fetch(self, camera: str) -> Picture:
        answer = self._channel.frame(camera, WIDEST)
        media_type = media_type_of(answer.image)
        if media_type is None:
            raise PictureRefused(f"the frame of {camera} is not a JPEG, PNG or WebP")
        return Picture(media_type, answer.image, age_s=translate.frame_age_s(answer))
