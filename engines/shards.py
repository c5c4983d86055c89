"""One safetensors file: its header, and rows of its tensors, read from the file when they are asked for.

Plain reads, not a memory map: what was read once does not stay in the process, so that memory does not
grow with the model. Knows the file format; does not know names, models or what a tensor means.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.errors import UnsupportedModel

Array = NDArray[np.float32]

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_FLOATS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
}
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `offset` in the file, `length` bytes of `kind` (the format's own word)."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a file: name → place.

    Raises:
        UnsupportedModel: not a whole safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 0 < length <= min(size - 8, _MAX_HEADER_BYTES):
                raise ValueError("its header is cut short")
            header = json.loads(file.read(length))
        start = 8 + length
        tensors = {
            str(name): _place(path, entry, start) for name, entry in header.items() if name != "__metadata__"
        }
        end = max((one.offset + one.length for one in tensors.values()), default=start)
        if end != size:
            raise ValueError(f"{size} bytes of {end}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnsupportedModel(
            f"{path}: not a whole safetensors file ({error}). Download it again."
        ) from error
    return tensors


def _place(path: Path, entry: dict[str, object], start: int) -> StoredTensor:
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise TypeError("its header is not one of tensors")
    begin, end = (int(one) for one in offsets)
    sizes = tuple(int(one) for one in shape)
    # An unknown kind may be another quantised format: refused with a better message when it is read.
    wrong = kind in _BITS and (end - begin) * 8 != prod(sizes) * _BITS[kind]
    if wrong or min(sizes, default=0) < 0 or not 0 <= begin <= end:
        raise ValueError("its header contradicts itself")
    return StoredTensor(path, kind, sizes, start + begin, end - begin)


def read_rows(tensor: StoredTensor, name: str, start: int, stop: int) -> Array:
    """Rows `start` to `stop` of the first axis as float32; a scalar has one row.

    Raises:
        UnsupportedModel: not a float, not finite, or the file cannot be read.
    """
    if tensor.kind not in _FLOATS:
        raise UnsupportedModel(
            f"{name} is stored as {tensor.kind}; supported: {', '.join(sorted(_FLOATS))}. "
            "Quantised checkpoints cannot be built from: use the original one."
        )
    kind = _FLOATS[tensor.kind]
    inner = tensor.shape[1:]
    wanted = (stop - start, *inner) if tensor.shape else ()
    try:
        with tensor.path.open("rb") as file:
            file.seek(tensor.offset + start * prod(inner) * kind.itemsize)
            stored = np.fromfile(file, kind, prod(wanted))
        if stored.size != prod(wanted):
            raise OSError("the file ends too early")
    except OSError as error:
        raise UnsupportedModel(
            f"{tensor.path}: {name} cannot be read ({error}). Download the file again."
        ) from error
    values = _float32(stored, tensor.kind).reshape(wanted)
    if not np.isfinite(values).all():
        raise UnsupportedModel(f"{name} holds values that are not finite. The checkpoint is damaged.")
    return values


def _float32(stored: NDArray[Any], kind: str) -> Array:
    if kind == "BF16":  # the upper half of a float32
        wide = stored.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)
