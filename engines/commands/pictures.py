"""Reading pictures and clips from files, as the engine takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from lineside.engines.base import Clip, Image

SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))


def read_picture(path: Path) -> Image:
    """A picture, turned as its camera says.

    Raises:
        click.UsageError: it cannot be read.
    """
    try:
        with PIL.Image.open(path) as picture:
            return np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise click.UsageError(f"{path} cannot be read as a picture: {error}") from error


def read_clip(path: Path, fps: float, most: int) -> Clip:
    """Frames of a video, `fps` a second where it has as many, thinned evenly to at most `most`.

    Raises:
        click.UsageError: it cannot be read, or has no frames.
    """
    reader = cv2.VideoCapture(str(path))
    try:
        own = reader.get(cv2.CAP_PROP_FPS)
        if not reader.isOpened() or not own > 0:
            raise click.UsageError(f"{path} cannot be read as a video")
        step = max(own / fps, 1.0)
        frames: list[Image] = []
        index, wanted = 0, 0.0
        while reader.grab():
            if index >= wanted:
                good, frame = reader.retrieve()
                if not good:
                    break
                frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
                wanted += step
                if len(frames) > 2 * most:
                    # Half as many, twice as far apart: memory stays bounded however long the video is.
                    frames, step = frames[::2], 2 * step
                    wanted = len(frames) * step
            index += 1
    finally:
        reader.release()
    if not frames:
        raise click.UsageError(f"{path} has no frames that can be read")
    keep = max(-(-len(frames) // most), 1)
    return Clip(np.stack(frames[::keep]), own / step / keep)


def picture_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and the pictures in folders among them, by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
        else:
            yield path
