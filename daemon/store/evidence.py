"""Evidence files: content-addressed pictures, complete and on disk before any row names them.

`<folder>/ab/<sha256>`, ab being its first digits. It knows nothing of the database; what goes
is decided by `retention`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside.daemon.store.durable import PART_SUFFIX, discard, place_file, sync_folder
from lineside.daemon.store.errors import EvidenceDamaged
from lineside.daemon.values import EvidenceImage, EvidenceRef

_ID = re.compile(r"[0-9a-f]{64}")
_PREFIXES = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one result's pictures. `failure` says why some could not be written."""

    refs: tuple[EvidenceRef, ...]
    failure: OSError | None = None


class EvidenceFiles:
    """The folder of pictures. Writing and removing: the writer thread only; reading: any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._durable_folders: set[Path] = set()

    def create(self) -> None:
        """Makes the folder. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self._folder.parent)

    def keep(self, batch: Sequence[Sequence[EvidenceImage]]) -> list[Kept]:
        """Stores the pictures of several results; what is referred to afterwards is durable.

        A disk that refuses costs the result its pictures, never its verdict: `Kept.failure` is set.
        """
        kept: list[Kept] = []
        touched: set[Path] = set()
        for images in batch:
            refs: list[EvidenceRef] = []
            failure: OSError | None = None
            for image in images:
                try:
                    refs.append(self._place(image, touched))
                except OSError as error:
                    failure = error
            kept.append(Kept(tuple(refs), failure))
        failed = {folder: why for folder in touched if (why := _sync_failure(folder)) is not None}
        return [_without(one, self._folder, failed) for one in kept] if failed else kept

    def _place(self, image: EvidenceImage, touched: set[Path]) -> EvidenceRef:
        ref = EvidenceRef(
            evidence_id=hashlib.sha256(image.data).hexdigest(),
            role=image.role,
            ask=image.ask,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            size_bytes=len(image.data),
        )
        path = self.path(ref.evidence_id)
        # The same picture again is written again: it mends a copy that the disk has spoilt meanwhile.
        if path.parent not in self._durable_folders:
            path.parent.mkdir(exist_ok=True)
            sync_folder(self._folder)
            self._durable_folders.add(path.parent)
        place_file(path, image.data)
        touched.add(path.parent)
        return ref

    def path(self, evidence_id: str) -> Path:
        """Where the picture lies.

        Raises:
            ValueError: not an evidence id; nothing outside the folder can be named.
        """
        if not _ID.fullmatch(evidence_id):
            raise ValueError(f"an evidence id is 64 lower-case hex digits, not {evidence_id!r:.80}")
        return self._folder / evidence_id[:2] / evidence_id

    def read(self, evidence_id: str) -> bytes:
        """The picture's bytes, checked against the hash that names it.

        Raises:
            EvidenceDamaged: missing, unreadable, or altered.
        """
        try:
            data = self.path(evidence_id).read_bytes()
        except OSError as error:
            raise EvidenceDamaged(f"evidence {evidence_id} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != evidence_id:
            raise EvidenceDamaged(f"evidence {evidence_id} no longer has the bytes that were stored")
        return data

    def remove(self, evidence_id: str) -> bool:
        """Removes a picture; says whether it is gone."""
        return discard(self.path(evidence_id))

    def listing(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Folder by folder: the two-digit prefix, and the complete files there with their sizes.

        What a crash left incomplete is removed on the way.
        """
        for prefix in _PREFIXES:
            found: dict[str, int] = {}
            folder = self._folder / prefix
            for entry in folder.iterdir() if folder.is_dir() else ():
                if _ID.fullmatch(entry.name):
                    found[entry.name] = entry.stat().st_size
                elif entry.name.endswith(PART_SUFFIX):
                    discard(entry)
            yield prefix, found


def _sync_failure(folder: Path) -> OSError | None:
    try:
        sync_folder(folder)
    except OSError as error:
        return error
    return None


def _without(kept: Kept, folder: Path, failed: dict[Path, OSError]) -> Kept:
    """`kept` less the pictures whose folder could not be made durable."""
    safe = tuple(ref for ref in kept.refs if folder / ref.evidence_id[:2] not in failed)
    if len(safe) == len(kept.refs):
        return kept
    return Kept(safe, kept.failure or next(iter(failed.values())))
