"""EngineService: bringing engines to the device, and changing the one that judges."""

from __future__ import annotations

import re

import grpc
from google.longrunning import operations_pb2

from lineside.daemon.clock import Clock
from lineside.daemon.engine_shelf import EngineShelf, Installed, Switch
from lineside.daemon.engine_uploads import KEEP_UPLOAD_S, ShelfRefused, Upload, moment
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.asking import checked_request_id
from lineside.daemon.rpc.errors import not_found
from lineside.daemon.rpc.names import check_device, child_id, child_name
from lineside.daemon.rpc.operations import Operations
from lineside.daemon.rpc.paging import page_of
from lineside.v1 import engines_pb2, engines_pb2_grpc

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ORDER = {"ACTIVE": "0", "PREVIOUS": "1", "STAGED": "2"}


class EngineService(engines_pb2_grpc.EngineServiceServicer):
    """Works on the shelf; what takes long goes to the operations. `switch` changes the engine that judges."""

    def __init__(
        self,
        appliance: RunningAppliance,
        shelf: EngineShelf,
        switch: Switch,
        operations: Operations,
        clock: Clock,
    ) -> None:
        self._appliance = appliance
        self._shelf = shelf
        self._switch = switch
        self._operations = operations
        self._clock = clock

    def ListEngines(  # noqa: N802 - the contract's name
        self, request: engines_pb2.ListEnginesRequest, context: grpc.ServicerContext
    ) -> engines_pb2.ListEnginesResponse:
        """Every installed engine, the active one first."""
        device = self._device()
        check_device(request.parent, device, "parent")
        etag = self._shelf.slots().etag
        page, token = page_of(
            self._shelf.installed(),
            lambda one: _ORDER[one.slot],
            request.page_size,
            request.page_token,
            {"list": "engines"},
        )
        return engines_pb2.ListEnginesResponse(
            engines=[_engine(one, device) for one in page], next_page_token=token, etag=etag
        )

    def GetEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.GetEngineRequest, context: grpc.ServicerContext
    ) -> engines_pb2.GetEngineResponse:
        """One installed engine."""
        return engines_pb2.GetEngineResponse(engine=_engine(self._installed(request.name), self._device()))

    def CreateEngineUpload(  # noqa: N802 - the contract's name
        self, request: engines_pb2.CreateEngineUploadRequest, context: grpc.ServicerContext
    ) -> engines_pb2.CreateEngineUploadResponse:
        """Announces a file, or gives it as it stands."""
        device = self._device()
        check_device(request.parent, device, "parent")
        upload = self._shelf.uploads.begin(request.sha256, request.size_bytes, self._now_s())
        return engines_pb2.CreateEngineUploadResponse(upload=_upload(upload, device))

    def GetEngineUpload(  # noqa: N802 - the contract's name
        self, request: engines_pb2.GetEngineUploadRequest, context: grpc.ServicerContext
    ) -> engines_pb2.GetEngineUploadResponse:
        """An upload as it stands."""
        found = self._shelf.uploads.find(self._upload_id(request.name, "name"))
        if found is None:
            raise not_found("EngineUpload", request.name, "there is no such upload: announce it")
        return engines_pb2.GetEngineUploadResponse(upload=_upload(found, self._device()))

    def WriteEngineUpload(  # noqa: N802 - the contract's name
        self, request: engines_pb2.WriteEngineUploadRequest, context: grpc.ServicerContext
    ) -> engines_pb2.WriteEngineUploadResponse:
        """Appends a chunk."""
        sha256 = self._upload_id(request.name, "name")
        written = self._shelf.uploads.write(sha256, request.offset, request.data, self._now_s())
        return engines_pb2.WriteEngineUploadResponse(upload=_upload(written, self._device()))

    def DeleteEngineUpload(  # noqa: N802 - the contract's name
        self, request: engines_pb2.DeleteEngineUploadRequest, context: grpc.ServicerContext
    ) -> engines_pb2.DeleteEngineUploadResponse:
        """Gives an upload up."""
        if not self._shelf.uploads.give_up(self._upload_id(request.name, "name")):
            raise not_found("EngineUpload", request.name, "there is no such upload")
        return engines_pb2.DeleteEngineUploadResponse()

    def InstallEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.InstallEngineRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Verifies a complete upload and puts it into STAGED."""
        sha256, device = self._upload_id(request.upload, "upload"), self._device()
        key = _key("install", request.request_id)
        known = self._shelf.uploads.find(sha256)
        if key is None and (known is None or known.received != known.size):
            raise ShelfRefused("UPLOAD_INCOMPLETE", "bytes are missing: send them first")
        return self._operations.start(
            request.upload,
            key,
            lambda told: _engine(
                self._shelf.install(sha256, told, allow_downgrade=request.allow_downgrade), device
            ),
        )

    def VerifyEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.VerifyEngineRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Reads an installed engine anew."""
        digest, device = self._installed(request.name).digest, self._device()
        return self._operations.start(
            request.name,
            _key("verify", request.request_id),
            lambda told: _engine(self._shelf.verify(digest, told), device),
        )

    def ActivateEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.ActivateEngineRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Makes an installed engine the one that judges."""
        digest = self._installed(request.name).digest
        return self._activate(digest, request.etag, request.name, _key("activate", request.request_id))

    def RollBackEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.RollBackEngineRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """Makes the engine before the one that judges again."""
        device = self._device()
        check_device(request.parent, device, "parent")
        digest = self._shelf.previous()
        name = child_name(device, "engines", digest)
        return self._activate(digest, request.etag, name, _key("rollback", request.request_id))

    def DeleteEngine(  # noqa: N802 - the contract's name
        self, request: engines_pb2.DeleteEngineRequest, context: grpc.ServicerContext
    ) -> engines_pb2.DeleteEngineResponse:
        """Removes an engine that does not judge."""
        self._shelf.remove(self._installed(request.name).digest)
        return engines_pb2.DeleteEngineResponse()

    def _activate(
        self, digest: str, etag: str, target: str, key: tuple[str, str] | None
    ) -> operations_pb2.Operation:
        device = self._device()
        if key is None:  # a repeated call carries the etag of before its own effect
            self._shelf.check_etag(etag)
        return self._operations.start(
            target, key, lambda told: _engine(self._shelf.activate(digest, etag, self._switch, told), device)
        )

    def _device(self) -> str:
        return self._appliance.device().device

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _upload_id(self, name: str, field: str) -> str:
        found = child_id(name, "engineUploads", self._device(), field)
        if not _DIGEST.fullmatch(found):
            raise not_found("EngineUpload", name, "there is no such upload")
        return found

    def _installed(self, name: str) -> Installed:
        digest = child_id(name, "engines", self._device(), "name")
        found = self._shelf.get(digest) if _DIGEST.fullmatch(digest) else None
        if found is None:
            raise not_found("Engine", name, f"no engine '{digest}' is installed")
        return found


def _key(scope: str, request_id: str) -> tuple[str, str] | None:
    checked = checked_request_id(request_id)
    return None if checked is None else (scope, checked)


def _engine(one: Installed, device: str) -> engines_pb2.Engine:
    manifest = one.manifest
    return engines_pb2.Engine(
        name=child_name(device, "engines", one.digest),
        digest=one.digest,
        engine=manifest.name,
        version=manifest.version,
        slot=engines_pb2.EngineSlot.Value(f"ENGINE_SLOT_{one.slot}"),
        licence=manifest.licence,
        precision=manifest.precision,
        is_demo=manifest.is_demo,
        signature=one.signature,
        size_bytes=one.size,
        install_time=convert.timestamp(moment(one.installed_s)) if one.installed_s is not None else None,
        is_configured=one.installed_s is None,
    )


def _upload(upload: Upload, device: str) -> engines_pb2.EngineUpload:
    return engines_pb2.EngineUpload(
        name=child_name(device, "engineUploads", upload.sha256),
        sha256=upload.sha256,
        size_bytes=upload.size,
        received_bytes=upload.received,
        expire_time=convert.timestamp(moment(upload.touched_s + KEEP_UPLOAD_S)),
    )
