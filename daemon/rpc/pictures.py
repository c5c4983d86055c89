"""Pictures on the wire: encoded bytes ↔ arrays, with bounds checked before anything is decoded."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lineside.daemon.rpc.errors import bad_field
from lineside.daemon.values import Picture

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # the latter where warnings are errors
LARGEST_PIXELS = 64_000_000
DEFAULT_QUALITY = 85


def decode(data: bytes, field: str) -> Picture:
    """An uploaded picture as BGR, (height, width, 3), uint8, turned as its EXIF says.

    Raises:
        RpcFault: INVALID_ARGUMENT when it is no picture of a known format, broken, or too large.
    """
    if not data:
        raise bad_field(field, "empty: a JPEG, PNG, BMP or WebP is wanted")
    try:
        # Reads the header alone, so that a small file that claims a huge picture costs nothing.
        with Image.open(io.BytesIO(data), formats=FORMATS) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, *BOMBS) as error:
        raise bad_field(field, "not a JPEG, PNG, BMP or WebP") from error
    if width * height > LARGEST_PIXELS:
        raise bad_field(field, f"{width}×{height} is more than {LARGEST_PIXELS // 1_000_000} million pixels")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise bad_field(field, "a broken picture") from error
    if picture is None:
        raise bad_field(field, "a broken picture")
    return picture.astype(np.uint8, copy=False)


def encode_jpeg(picture: Picture, max_width: int, quality: int) -> tuple[bytes, int, int]:
    """A JPEG no wider than `max_width` (0: as it is), with its width and height."""
    height, width = picture.shape[:2]
    if max_width and width > max_width:
        height = max(1, round(height * max_width / width))
        width = max_width
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(
            np.uint8, copy=False
        )
    ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality or DEFAULT_QUALITY])
    if not ok:
        raise ValueError(f"a {width}×{height} picture cannot be a JPEG")
    return data.tobytes(), width, height
