"""Pictures as files: what is kept as evidence of a verdict.

The frame is JPEG; crops are PNG, so that what the engine saw can be judged again bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from lineside.daemon.values import EvidenceImage, Picture

FRAME_QUALITY = 90


def encode_frame(image: Picture) -> EvidenceImage:
    """The whole frame as JPEG."""
    return _encoded(image, ".jpg", "image/jpeg", [cv2.IMWRITE_JPEG_QUALITY, FRAME_QUALITY], "frame", None)


def encode_crop(image: Picture, ask: str) -> EvidenceImage:
    """What one question looked at, lossless."""
    return _encoded(image, ".png", "image/png", [cv2.IMWRITE_PNG_COMPRESSION, 1], "crop", ask)


def encode_strip(clip: Sequence[Picture], ask: str) -> EvidenceImage:
    """A question's clip as one picture, oldest left, lossless."""
    return _encoded(
        np.concatenate(clip, axis=1), ".png", "image/png", [cv2.IMWRITE_PNG_COMPRESSION, 1], "clip", ask
    )


def encode_golden(image: Picture, ask: str) -> EvidenceImage:
    """The reference that one question compared with, lossless: the same file for every part."""
    return _encoded(image, ".png", "image/png", [cv2.IMWRITE_PNG_COMPRESSION, 1], "golden", ask)


def _encoded(
    image: Picture, extension: str, media_type: str, options: list[int], role: str, ask: str | None
) -> EvidenceImage:
    done, data = cv2.imencode(extension, image, options)
    if not done:
        raise ValueError(f"a picture of shape {image.shape} could not be written as {media_type}")
    height, width = image.shape[:2]
    return EvidenceImage(role, ask, media_type, width, height, np.asarray(data).tobytes())


def in_sample(result_id: str, share: float) -> bool:
    """Whether a result belongs to the kept share of OK parts: the same answer every time for one id."""
    if share >= 1.0:
        return True
    drawn = int.from_bytes(hashlib.sha256(result_id.encode()).digest()[:8], "big") / 2**64
    return drawn < share
