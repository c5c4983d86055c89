"""The engines installed on a device: uploads on their way, bundles by digest, and which of them judges.

    engines/uploads/                    files on their way: engine_uploads.py
    engines/bundles/{digest}.lsengine   verified before it lies here
    engines/slots.json                  active, previous, staged: digests; replaced in one step

The engine that the settings name needs no file here: it is active until another one is. Knows no worker and
no caller; a switch is handed in.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog

from lineside.daemon.engine_floor import below, raised
from lineside.daemon.engine_selftest import selftest_apart
from lineside.daemon.engine_uploads import EngineUploads, ShelfRefused
from lineside.daemon.pki.files import replace as replace_file
from lineside.engines.bundle import peek_manifest, verify_bundle
from lineside.engines.errors import EngineError
from lineside.engines.manifest import Manifest
from lineside.engines.signing import TrustPolicy

LOG = structlog.get_logger("engine")
Told = Callable[[str], None]
Switch = Callable[[Path, Told], None]
"""Called as `switch(bundle, told)`: makes a bundle the one that judges, or raises and changes nothing."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Digests by slot. `active` None: the engine that the settings name. `floors`: version by engine name."""

    active: str | None = None
    previous: str | None = None
    staged: str | None = None
    changed: int = 0
    floors: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with every change of what is where."""
        return f'"slots-{self.changed}"'


@dataclass(frozen=True, slots=True)
class Installed:
    """An engine that is here. `installed_s` None: it came with the settings."""

    digest: str
    slot: str
    manifest: Manifest
    size: int
    signature: str
    installed_s: float | None


class EngineShelf:
    """Thread-safe. `configured`: the bundle that the settings name; `trust`: whose engines are taken.

    `selftest` runs a bundle's self-test and raises EngineError where it does not pass.
    """

    def __init__(
        self,
        folder: Path,
        configured: Path,
        trust: TrustPolicy | None,
        selftest: Callable[[Path], None] | None = None,
    ) -> None:
        self._selftest = selftest or selftest_apart
        self._folder = folder
        self._configured = configured
        self._trust = trust or TrustPolicy()
        self.uploads = EngineUploads(folder / "uploads")
        self._working = threading.Lock()
        self._own: Manifest | None = None

    def active_bundle(self) -> Path:
        """The bundle to start with: the active one; that of the settings when it is gone."""
        try:
            active = self.slots().active
        except ShelfRefused as error:
            # The line is judged by the engine of the settings then; a person mends the note.
            LOG.error("engine_slots_unreadable", because=str(error))
            active = None
        if active is not None and self._bundle(active).exists():
            return self._bundle(active)
        return self._configured

    def slots(self) -> Slots:
        """What is where. Raises ShelfRefused when the note cannot be read."""
        try:
            return Slots(**json.loads((self._folder / "slots.json").read_bytes()))
        except FileNotFoundError:
            return Slots()
        except (ValueError, TypeError) as error:
            raise ShelfRefused("DAMAGED", f"engines/slots.json cannot be read: {error}") from None

    def installed(self) -> list[Installed]:
        """Every engine that is here: active, previous, staged; but for such of the latter as cannot be read.

        Raises:
            EngineError: the active one cannot be read.
            ShelfRefused: the note of the slots cannot be read.
        """
        slots, own = self.slots(), self._own_manifest()
        found = [self._installed(slots.active or own.digest, "ACTIVE")]
        for digest, slot in ((slots.previous, "PREVIOUS"), (slots.staged, "STAGED")):
            if digest is None or digest == found[0].digest:
                continue
            try:
                found.append(self._installed(digest, slot))
            except (EngineError, OSError) as error:
                LOG.error("engine_unreadable", slot=slot, digest=digest, because=str(error))
        return found

    def get(self, digest: str) -> Installed | None:
        """One installed engine."""
        return next((one for one in self.installed() if one.digest == digest), None)

    # Changes

    def install(self, sha256: str, told: Told, *, allow_downgrade: bool = False) -> Installed:
        """Verifies a complete upload and puts it into STAGED; one that is refused is removed.

        Raises:
            ShelfRefused: it is not complete, not the file that was announced, or older than the version of
                its name that judged here, and `allow_downgrade` was not given.
            EngineError: it is no bundle, altered, or nobody whom this device trusts vouches for it.
        """
        with self._working:
            known = self.uploads.find(sha256)
            if known is None or known.received != known.size:
                raise ShelfRefused("UPLOAD_INCOMPLETE", "bytes are missing: send them first")
            part = self.uploads.file(sha256)
            # The suffix tells an archive from a folder.
            archive = part.with_suffix(".lsengine")
            try:
                told("checking the file")
                with part.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                        raise ShelfRefused("WRONG_HASH", "the file is not the one announced: send it again")
                part.replace(archive)
                told("verifying every file of the bundle")
                manifest = verify_bundle(archive, self._trust.admit)
                slots = self.slots()
                floor = below(slots.floors, manifest.name, manifest.version)
                if floor is not None and not allow_downgrade:
                    message = f"{manifest.name} {manifest.version} is older than {floor}, which judged here"
                    raise ShelfRefused("DOWNGRADE", f"{message}: send it with allow_downgrade if it must be")
                target = self._bundle(manifest.digest)
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                archive.replace(target)
            finally:
                archive.unlink(missing_ok=True)
                self.uploads.give_up(sha256)
            if manifest.digest not in {slots.active, slots.previous, self._own_manifest().digest}:
                self._set(replace(slots, staged=manifest.digest))
            found = self.get(manifest.digest)
            assert found is not None
            return found

    def verify(self, digest: str, told: Told) -> Installed:
        """Reads every byte of an installed engine anew, and checks its signature. Raises EngineError."""
        found = self._required(digest)
        told("verifying every file of the bundle")
        verify_bundle(self._path(digest), self._trust.admit)
        told("running its self-test")
        self._selftest(self._path(digest))
        return found

    def activate(self, digest: str, etag: str, switch: Switch, told: Told) -> Installed:
        """Makes an installed engine the one that judges; the one before becomes PREVIOUS.

        Raises:
            ShelfRefused, EngineError: and what `switch` raises; the one before goes on.
        """
        with self._working:
            slots = self.slots()
            self._check_etag(slots, etag)
            found = self._required(digest)
            if found.slot == "ACTIVE":
                return found
            told("verifying every file of the bundle")
            verify_bundle(self._path(digest), self._trust.admit)
            told("running its self-test")
            self._selftest(self._path(digest))
            switch(self._path(digest), told)
            own = self._own_manifest().digest
            before = peek_manifest(self._path(slots.active or own))
            floors = raised(slots.floors, before.name, before.version)
            self._set(
                replace(
                    slots,
                    active=None if digest == own else digest,
                    previous=slots.active or own,
                    staged=None if slots.staged == digest else slots.staged,
                    floors=raised(floors, found.manifest.name, found.manifest.version),
                )
            )
            return self._required(digest)

    def retreat(self, switch: Switch, told: Told) -> Installed:
        """Makes the engine before judge, since the active one cannot be started, which goes to STAGED.

        Raises:
            ShelfRefused: there is no other engine here, or the settings' own is the one that fails.
            EngineError: and what `switch` raises; nothing has changed.
        """
        with self._working:
            slots, own = self.slots(), self._own_manifest().digest
            if slots.active is None:
                raise ShelfRefused("NO_PREVIOUS", "the engine that fails is the one that the settings name")
            target = slots.previous or own
            verify_bundle(self._path(target), self._trust.admit)
            switch(self._path(target), told)
            self._set(
                replace(slots, active=None if target == own else target, previous=None, staged=slots.active)
            )
            return self._required(target)

    def previous(self) -> str:
        """The digest that a rollback goes to. Raises ShelfRefused."""
        previous = self.slots().previous
        if previous is None:
            raise ShelfRefused("NO_PREVIOUS", "no other engine has judged here before")
        return previous

    def remove(self, digest: str) -> None:
        """Removes the engine in STAGED or PREVIOUS. Raises ShelfRefused."""
        with self._working:
            found, slots = self._required(digest), self.slots()
            if found.slot == "ACTIVE":
                raise ShelfRefused("ENGINE_IN_USE", "it judges now: activate another engine first")
            self._set(
                replace(
                    slots,
                    previous=None if slots.previous == digest else slots.previous,
                    staged=None if slots.staged == digest else slots.staged,
                )
            )

    def check_etag(self, etag: str) -> None:
        """Raises ShelfRefused (ETAG_MISMATCH) when the slots changed since; empty: whatever they are."""
        self._check_etag(self.slots(), etag)

    def _check_etag(self, slots: Slots, etag: str) -> None:
        if etag and etag != slots.etag:
            raise ShelfRefused("ETAG_MISMATCH", "another engine was moved meanwhile: list them again")

    def _required(self, digest: str) -> Installed:
        found = self.get(digest)
        if found is None:
            raise ShelfRefused("NOT_FOUND", f"no engine '{digest}' is installed")
        return found

    def _set(self, slots: Slots) -> None:
        """Notes the slots in one step, then removes bundles that no slot names."""
        changed = replace(slots, changed=slots.changed + 1)
        replace_file(self._folder / "slots.json", json.dumps(asdict(changed)).encode())
        named = {changed.active, changed.previous, changed.staged}
        for bundle in (self._folder / "bundles").glob("*.lsengine"):
            if bundle.stem not in named:
                bundle.unlink()

    def _installed(self, digest: str, slot: str) -> Installed:
        path = self._path(digest)
        manifest = peek_manifest(path)
        own = path == self._configured
        size = (
            path.stat().st_size
            if path.is_file()
            else sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        )
        try:
            signature = self._trust.standing(manifest).value
        except EngineError:
            signature = "refused"
        return Installed(digest, slot, manifest, size, signature, None if own else path.stat().st_mtime)

    def _own_manifest(self) -> Manifest:
        if self._own is None:
            self._own = peek_manifest(self._configured)
        return self._own

    def _path(self, digest: str) -> Path:
        return self._configured if digest == self._own_manifest().digest else self._bundle(digest)

    def _bundle(self, digest: str) -> Path:
        return self._folder / "bundles" / f"{digest}.lsengine"
