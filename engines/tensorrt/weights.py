"""The weights of compiled graphs in one file, and what lies where in it: uploaded once, fed to every plan.

Step and prefill are described over the same shelf and share each weight; plans hold none. Knows files and
places; does not know graphs. `EmbeddingTable` is the one weight that stays with the host.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lineside.engines.durable import sync_folder
from lineside.engines.graph.dialects.given import whole
from lineside.engines.graph.fed import Blocks, Chunks, Dense, FedKind, WeightSource, fed_bytes
from lineside.engines.quantise.blocks import Packed, unpack

KEPT_VALUES = 1 << 20
"""Up to so many numbers the host keeps a whole embedding table unpacked."""
ALIGNMENT = 256
"""Bytes: what CUDA aligns its own allocations to, so that the file can be uploaded as one piece."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight lies in its file, and what it is there."""

    kind: FedKind
    shape: tuple[int, ...]
    offset: int
    bytes: int


class CountingShelf:
    """Takes no weight and remembers what each would take (`Shelf`): for forecasts."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.bytes = 0

    def put(self, name: str, kind: FedKind, shape: Sequence[int], chunks: Chunks) -> None:
        """Counts a weight once."""
        found = self.places.get(name)
        if found is not None:
            if (found.kind, found.shape) != (kind, tuple(shape)):
                raise ValueError(
                    f"{name} is asked for as {kind} {list(shape)} and as {found.kind} {found.shape}"
                )
            return
        self.bytes += -self.bytes % ALIGNMENT
        size = fed_bytes(kind, shape)
        self.places[name] = Place(kind, tuple(shape), self.bytes, size)
        self.bytes += size


class WeightShelf(CountingShelf):
    """Writes each weight into a file as it comes (`Shelf`), a few megabytes at a time.

    The file has its name, `path` with its hash in it, only once `finish` was called: whoever finds it finds
    it whole, and what an earlier build wrote stays.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._temporary = path.with_name(f".{path.name}-{os.getpid()}")
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def __enter__(self) -> WeightShelf:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def put(self, name: str, kind: FedKind, shape: Sequence[int], chunks: Chunks) -> None:
        """Writes a weight, unless it was written before."""
        if self._file is None:
            raise RuntimeError("the shelf is not open")
        known = name in self.places
        before = self.bytes
        super().put(name, kind, shape, chunks)
        if known:
            return
        place = self.places[name]
        self._write(b"\0" * (place.offset - before))
        written = sum(self._write(np.ascontiguousarray(chunk).view(np.uint8).data) for chunk in chunks())
        if written != place.bytes:
            raise ValueError(f"{name} got {written} bytes for {place.bytes}")

    def finish(self) -> str:
        """Makes the file durable and gives it its name; returns its sha256."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        digest = self._hash.hexdigest()
        self.path = self.path.with_name(f"{self.path.stem}-{digest[:12]}{self.path.suffix}")
        self._temporary.replace(self.path)
        sync_folder(self.path.parent)
        return digest

    def _write(self, data: bytes | memoryview) -> int:
        assert self._file is not None
        self._hash.update(data)
        return self._file.write(data)


def described(places: Mapping[str, Place]) -> dict[str, Any]:
    """Places as JSON holds them."""
    return {name: asdict(place) for name, place in places.items()}


def read_places(raw: Mapping[str, Any]) -> dict[str, Place]:
    """Places as `described` wrote them."""
    return {
        name: Place(one["kind"], tuple(one["shape"]), int(one["offset"]), int(one["bytes"]))
        for name, one in raw.items()
    }


class EmbeddingTable:
    """Rows of the embedding table for the input `text_embeds`, from the bundle's own graph.

    Large tables are mapped, not read: a prompt touches a few hundred of their rows.
    """

    def __init__(self, source: WeightSource, shape: tuple[int, int], kind: Any = np.float16) -> None:
        """`shape`: [vocabulary, hidden]."""
        self._given: Dense | Blocks = source.table("embed_tokens", shape)
        self._whole = whole(self._given).astype(kind) if shape[0] * shape[1] <= KEPT_VALUES else None
        self._kind = kind

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """The rows of token ids of any shape: [*ids.shape, hidden]."""
        if self._whole is not None:
            return np.asarray(self._whole[ids])
        flat = ids.reshape(-1)
        given, width = self._given, self._given.shape[1]
        if isinstance(given, Dense):
            found = np.stack([given.rows(i, i + 1)[0] for i in flat.tolist()])
        else:
            packed = given.read(0, given.form.blocks(width))
            zeros = None if packed.zeros is None else packed.zeros[flat]
            found = unpack(Packed(packed.values[flat], packed.scales[flat], zeros), given.form, width)
        return found.reshape(*ids.shape, width).astype(self._kind)
