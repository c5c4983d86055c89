"""From pictures and clips to the patches the vision graph takes, as the checkpoint's own numbers say.

Resizing (bicubic, Pillow), scaling, normalising, pairing frames and flattening patches in merge order,
equal to the transformers processor of this model family. Knows numbers and pixels; does not know graphs,
tokens or prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lineside.engines.base import Clip, Image
from lineside.engines.errors import BadImage, UnsupportedModel

MAX_ASPECT_RATIO = 200
_BICUBIC = 3


@dataclass(frozen=True, slots=True)
class PictureNumbers:
    """The numbers of `preprocessor_config.json`.

    Pixel limits count pixels after resizing; for a clip, those of all its frames.
    """

    patch: int
    temporal_patch: int
    merge: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rescale: float
    min_pixels: int
    max_pixels: int
    clip_min_pixels: int
    clip_max_pixels: int

    @property
    def factor(self) -> int:
        """What both sides of a resized picture are multiples of."""
        return self.patch * self.merge


@dataclass(frozen=True, slots=True)
class Patches:
    """`values`: [slices, P, C·Tp·p·p] float32, a slice a picture or a pair of frames; `grid_h`·`grid_w` = P.

    `seconds`: the time of each slice of a clip, empty for a picture.
    """

    values: NDArray[np.float32]
    grid_h: int
    grid_w: int
    seconds: tuple[float, ...] = ()


def read_numbers(image: Mapping[str, Any], clip: Mapping[str, Any] | None = None) -> PictureNumbers:
    """Reads `preprocessor_config.json` and, where the checkpoint has one, `video_preprocessor_config.json`.

    Without the second, a clip is held to the picture's limits.

    Raises:
        UnsupportedModel: a number is missing, or asks for something this software does not do.
    """
    clip = clip if clip is not None else image
    for config in (image, clip):
        for key, wanted in (
            ("do_resize", True),
            ("do_rescale", True),
            ("do_normalize", True),
            ("resample", _BICUBIC),
        ):
            if config.get(key, wanted) != wanted:
                raise UnsupportedModel(
                    f"preprocessor {key} = {config[key]!r} is not implemented, only {wanted!r}"
                )
    for key in ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std"):
        if key not in image:
            raise UnsupportedModel(f"preprocessor_config.json lacks {key}")
        if clip.get(key, image[key]) != image[key]:
            raise UnsupportedModel(f"pictures and clips with different {key} are not implemented")
    mean, std = (_three(image[key], key) for key in ("image_mean", "image_std"))
    low, high = _limits(image)
    clip_low, clip_high = _limits(clip)
    return PictureNumbers(
        patch=int(image["patch_size"]),
        temporal_patch=int(image["temporal_patch_size"]),
        merge=int(image["merge_size"]),
        mean=mean,
        std=std,
        rescale=float(image.get("rescale_factor", 1 / 255)),
        min_pixels=low,
        max_pixels=high,
        clip_min_pixels=clip_low,
        clip_max_pixels=clip_high,
    )


def _three(values: Sequence[float], key: str) -> tuple[float, float, float]:
    if len(values) != 3:
        raise UnsupportedModel(f"preprocessor {key} has {len(values)} channels, only 3 are implemented")
    return float(values[0]), float(values[1]), float(values[2])


def _limits(config: Mapping[str, Any]) -> tuple[int, int]:
    size = config.get("size") or {}
    low = config.get("min_pixels") or size.get("shortest_edge")
    high = config.get("max_pixels") or size.get("longest_edge")
    if not low or not high:
        raise UnsupportedModel(
            "preprocessor_config.json has no pixel limits (size or min_pixels, max_pixels)"
        )
    return int(low), int(high)


def picture_size(height: int, width: int, numbers: PictureNumbers) -> tuple[int, int]:
    """Height and width a picture is resized to: multiples of `factor` within the pixel limits.

    Raises:
        BadImage: the picture is more than 200 times longer than wide.
    """
    return _fitted(1, 1, height, width, numbers.factor, numbers.min_pixels, numbers.max_pixels)


def clip_size(frames: int, height: int, width: int, numbers: PictureNumbers) -> tuple[int, int]:
    """Height and width each frame of a clip is resized to; the pixel limits are those of the whole clip.

    Raises:
        BadImage: a frame is more than 200 times longer than wide, or there are too few frames.
    """
    if frames < numbers.temporal_patch:
        raise BadImage(f"a clip needs at least {numbers.temporal_patch} frames, this one has {frames}")
    factor = numbers.factor
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    return _fitted(
        frames,
        numbers.temporal_patch,
        height,
        width,
        factor,
        numbers.clip_min_pixels,
        numbers.clip_max_pixels,
    )


def _fitted(
    frames: int, pair: int, height: int, width: int, factor: int, low: int, high: int
) -> tuple[int, int]:
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise BadImage(
            f"a picture of {width}×{height} is more than {MAX_ASPECT_RATIO} times longer than wide"
        )
    # Python's round halves to even, as the reference does: 720/32 = 22.5 becomes 22.
    fit_height, fit_width = round(height / factor) * factor, round(width / factor) * factor
    fit_frames = round(frames / pair) * pair
    if fit_frames * fit_height * fit_width > high:
        shrink = math.sqrt(frames * height * width / high)
        fit_height = max(factor, math.floor(height / shrink / factor) * factor)
        fit_width = max(factor, math.floor(width / shrink / factor) * factor)
    elif fit_frames * fit_height * fit_width < low:
        grow = math.sqrt(low / (frames * height * width))
        fit_height = math.ceil(height * grow / factor) * factor
        fit_width = math.ceil(width * grow / factor) * factor
    return fit_height, fit_width


class PatchMaker:
    """Turns pictures and clips into patches by one checkpoint's numbers."""

    def __init__(self, numbers: PictureNumbers) -> None:
        self.numbers = numbers
        levels = (np.arange(256, dtype=np.float64) * numbers.rescale).astype(np.float32)
        mean, std = np.array(numbers.mean, np.float32), np.array(numbers.std, np.float32)
        # A pixel has 256 values, so normalising is a look-up, with the rounding of the reference's own order.
        self._tables = np.ascontiguousarray((levels[None, :] - mean[:, None]) / std[:, None])
        self._one_table = bool((self._tables == self._tables[0]).all())

    def picture(self, image: Image) -> Patches:
        """Patches of one picture: one slice, the picture in both of its time slots.

        Raises:
            BadImage: not RGB uint8, empty, or an aspect ratio above 200.
        """
        _check(image, 3, "a picture must be (height, width, 3)")
        height, width = picture_size(image.shape[0], image.shape[1], self.numbers)
        resized = _resized(image, height, width)
        cut = self._cut(resized[None])
        values = self._normalised(cut)
        pair = self.numbers.temporal_patch
        slices, count, channels, _, patch, _ = values.shape
        both = np.broadcast_to(values, (slices, count, channels, pair, patch, patch))
        return Patches(
            both.reshape(slices, count, channels * pair * patch * patch),
            height // patch,
            width // patch,
        )

    def clip(self, clip: Clip) -> Patches:
        """Patches of a clip: one slice a pair of frames, the last frame repeated where one is missing.

        Raises:
            BadImage: not RGB uint8, too few frames, no frame rate, or an aspect ratio above 200.
        """
        frames = clip.frames
        _check(frames, 4, "a clip must be (frames, height, width, 3)")
        if not (math.isfinite(clip.fps) and clip.fps > 0):
            raise BadImage(f"a clip needs its frames a second, not {clip.fps!r}")
        count = frames.shape[0]
        height, width = clip_size(count, frames.shape[1], frames.shape[2], self.numbers)
        resized = np.stack([_resized(frame, height, width) for frame in frames])
        pair, patch = self.numbers.temporal_patch, self.numbers.patch
        missing = -count % pair
        if missing:
            resized = np.concatenate([resized, np.repeat(resized[-1:], missing, axis=0)])
        slices = resized.shape[0] // pair
        times = [min(index, count - 1) / clip.fps for index in range(count + missing)]
        values = self._normalised(self._cut(resized))
        # [slices·pair, P, C, 1, p, p] → [slices, P, C, pair, p, p]
        paired = values.reshape(slices, pair, *values.shape[1:3], patch, patch).transpose(0, 2, 3, 1, 4, 5)
        return Patches(
            np.ascontiguousarray(paired).reshape(slices, paired.shape[1], -1),
            height // patch,
            width // patch,
            tuple((times[at] + times[at + pair - 1]) / 2 for at in range(0, len(times), pair)),
        )

    def _cut(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[n, H, W, C] → [n, P, C, 1, p, p], patches in merge order."""
        patch, merge = self.numbers.patch, self.numbers.merge
        number, height, width, channels = pictures.shape
        rows, columns = height // patch // merge, width // patch // merge
        split = pictures.reshape(number, rows, merge, patch, columns, merge, patch, channels)
        ordered = split.transpose(0, 1, 4, 2, 5, 7, 3, 6)
        return ordered.reshape(number, rows * columns * merge * merge, channels, 1, patch, patch)

    def _normalised(self, cut: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._one_table:
            looked_up: NDArray[np.float32] = self._tables[0].take(cut)
            return looked_up
        values = np.empty(cut.shape, np.float32)
        for channel, table in enumerate(self._tables):
            values[:, :, channel] = table.take(cut[:, :, channel])
        return values


def _check(pixels: NDArray[np.uint8], dimensions: int, wanted: str) -> None:
    if pixels.dtype != np.uint8:
        raise BadImage(f"{wanted} uint8, not {pixels.dtype}")
    if pixels.ndim != dimensions or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise BadImage(f"{wanted}, not {pixels.shape}")


def _resized(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    picture = PIL.Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), PIL.Image.Resampling.BICUBIC))
