"""Pictures that are asked about more than once: what the vision tower said of the last few.

Knows pictures by all their bytes, and embeddings as arrays; does not know graphs, prompts or files.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from lineside.engines.answering.runtime import Floats
from lineside.engines.base import Clip, Image
from lineside.engines.chat import VisionShape
from lineside.engines.pixels import Patches, PatchMaker

PICTURES_KEPT = 64
"""However small they are: a part's pictures do not come back once it is judged, a reference's always do."""


def picture_digest(image: Image | Clip) -> bytes:
    """Tells pictures and clips apart by every pixel, their sizes and, for a clip, its frame rate."""
    pixels, rate = (image.frames, repr(float(image.fps))) if isinstance(image, Clip) else (image, "")
    digest = hashlib.sha256(f"{pixels.dtype} {pixels.shape} {rate}\n".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


class Look:
    """One picture or clip on its way through the vision tower.

    `number`: negative, of this picture alone for as long as it is kept, and never given to another one.
    `known`: it was kept when it came. `patches`: None once `embeds` [tokens, hidden] is there. `ahead_s`:
    seconds that were spent on it before it was asked about for the first time; None after that.
    """

    __slots__ = ("ahead_s", "digest", "embeds", "known", "number", "patches", "shape")

    def __init__(self, digest: bytes, number: int, patches: Patches, shape: VisionShape) -> None:
        self.digest = digest
        self.number = number
        self.shape = shape
        self.known = False
        self.patches: Patches | None = patches
        self.embeds: Floats | None = None
        self.ahead_s: float | None = None


class PictureShelf:
    """The embeddings of the last pictures, within `limit_bytes`; 0 keeps none. Thread-safe."""

    def __init__(self, limit_bytes: int, maker: PatchMaker) -> None:
        self._limit = limit_bytes
        self._maker = maker
        self._kept: OrderedDict[bytes, Look] = OrderedDict()
        self._bytes = 0
        self._last_number = 0
        self._lock = threading.Lock()

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._limit > 0

    @property
    def size_bytes(self) -> int:
        """What all kept embeddings hold together."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def look(self, images: Sequence[Image | Clip]) -> list[Look]:
        """Each picture as it is kept, or with its patches; one that comes twice is looked at once.

        Raises:
            BadImage: a picture the engine cannot take.
        """
        looks: dict[bytes, Look] = {}
        order: list[bytes] = []
        for image in images:
            digest = picture_digest(image)
            order.append(digest)
            if digest in looks:
                continue
            looks[digest] = self._find(digest) or self._new(digest, image)
        return [looks[digest] for digest in order]

    def missing(self, images: Sequence[Image | Clip]) -> list[Look]:
        """Those of the pictures that are not kept, each once, with their patches. Raises BadImage."""
        digests = {picture_digest(image): image for image in images}
        with self._lock:
            unknown = [digest for digest in digests if digest not in self._kept]
        return [self._new(digest, digests[digest]) for digest in unknown]

    def _find(self, digest: bytes) -> Look | None:
        with self._lock:
            kept = self._kept.get(digest)
            if kept is not None:
                self._kept.move_to_end(digest)
                # Looked at ahead of this very question: it has not come before.
                kept.known = kept.ahead_s is None
            return kept

    def _new(self, digest: bytes, image: Image | Clip) -> Look:
        maker = self._maker
        patches = maker.clip(image) if isinstance(image, Clip) else maker.picture(image)
        merge = maker.numbers.merge
        shape = VisionShape(patches.grid_h // merge, patches.grid_w // merge, patches.seconds)
        with self._lock:
            self._last_number -= 1
            return Look(digest, self._last_number, patches, shape)

    def put(self, look: Look, embeds: Floats) -> None:
        """Keeps what the vision tower said of a picture ([tokens, hidden]; copied)."""
        look.embeds = embeds.copy()
        look.patches = None
        if self._limit <= 0:
            return
        with self._lock:
            before = self._kept.pop(look.digest, None)
            if before is not None and before.embeds is not None:
                self._bytes -= before.embeds.nbytes
            self._kept[look.digest] = look
            self._bytes += look.embeds.nbytes
            while len(self._kept) > 1 and (self._bytes > self._limit or len(self._kept) > PICTURES_KEPT):
                _, oldest = self._kept.popitem(last=False)
                assert oldest.embeds is not None
                self._bytes -= oldest.embeds.nbytes
