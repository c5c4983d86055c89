"""The engines of a simulated device: slots, uploads, installing and activating as a real one, and failing so.

Reads a bundle's manifest and believes it; loads nothing. Operations are done when they are answered.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2

from lineside.dashboard.rollouts.bundles import RefusedBundle, check
from lineside.v1 import engines_pb2, engines_pb2_grpc, results_pb2

TROUBLES = ("", "install", "activate", "judge")
"""Where a new engine fails: it is refused, does not start, or can decide nothing."""


@dataclass(slots=True)
class EngineBench(engines_pb2_grpc.EngineServiceServicer):
    """Engines by digest and what is in which slot. Used in one event loop."""

    own: results_pb2.EngineRef
    trouble: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    engines: dict[str, engines_pb2.Engine] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engines[self.own.digest] = engines_pb2.Engine(
            name=f"devices/-/engines/{self.own.digest}",
            digest=self.own.digest,
            engine=self.own.engine,
            version=self.own.version,
            licence="none",
            precision="none",
            is_demo=True,
            signature="unsigned",
            is_configured=True,
        )
        self.slots["active"] = self.own.digest

    @property
    def active(self) -> results_pb2.EngineRef:
        """The engine that judges."""
        engine = self.engines[self.slots["active"]]
        return results_pb2.EngineRef(
            engine=engine.engine, version=engine.version, digest=engine.digest, runtime="none"
        )

    @property
    def decides_nothing(self) -> bool:
        """Whether the engine that judges is a new one that can decide nothing."""
        return self.trouble == "judge" and self.slots["active"] != self.own.digest

    # What the protos promise.

    async def ListEngines(self, request: Any, context: Any) -> engines_pb2.ListEnginesResponse:  # noqa: N802
        """What is in the slots."""
        names = {"active": 1, "previous": 2, "staged": 3}
        engines = []
        for slot in sorted(self.slots, key=lambda one: names[one]):
            engine = engines_pb2.Engine()
            engine.CopyFrom(self.engines[self.slots[slot]])
            engine.slot = engines_pb2.EngineSlot.ValueType(names[slot])
            engines.append(engine)
        return engines_pb2.ListEnginesResponse(engines=engines, etag=str(sorted(self.slots.items())))

    async def CreateEngineUpload(  # noqa: N802
        self, request: Any, context: Any
    ) -> engines_pb2.CreateEngineUploadResponse:
        """An upload, as far as it came."""
        self.uploads.setdefault(request.sha256, bytearray())
        self.sizes[request.sha256] = request.size_bytes
        return engines_pb2.CreateEngineUploadResponse(upload=self._upload(request.sha256))

    async def WriteEngineUpload(  # noqa: N802
        self, request: Any, context: Any
    ) -> engines_pb2.WriteEngineUploadResponse:
        """One chunk more."""
        sha256 = request.name.rsplit("/", 1)[-1]
        held = self.uploads[sha256]
        if request.offset > len(held):
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "a chunk before this one is missing")
        held += request.data[len(held) - request.offset :]
        return engines_pb2.WriteEngineUploadResponse(upload=self._upload(sha256))

    async def InstallEngine(self, request: Any, context: Any) -> operations_pb2.Operation:  # noqa: N802
        """Verifies the file and stages it."""
        sha256 = request.upload.rsplit("/", 1)[-1]
        data = bytes(self.uploads.pop(sha256, b""))
        if hashlib.sha256(data).hexdigest() != sha256 or self.trouble == "install":
            return _failed("the bundle is damaged: its sha256 is another one")
        with tempfile.NamedTemporaryFile(suffix=".lsengine") as file:
            file.write(data)
            file.flush()
            try:
                bundle = check(Path(file.name), sha256)
            except RefusedBundle as error:
                return _failed(str(error))
        self.engines[bundle.digest] = engines_pb2.Engine(
            name=f"devices/-/engines/{bundle.digest}",
            digest=bundle.digest,
            engine=bundle.name,
            version=bundle.version,
            licence=str(bundle.manifest["licence"]),
            precision=str(bundle.manifest["precision"]),
            is_demo=bool(bundle.manifest.get("is_demo")),
            signature="unknown key" if bundle.manifest.get("signature") else "unsigned",
            size_bytes=len(data),
        )
        self.slots["staged"] = bundle.digest
        return _done(self.engines[bundle.digest])

    async def ActivateEngine(self, request: Any, context: Any) -> operations_pb2.Operation:  # noqa: N802
        """Makes an installed engine the one that judges."""
        digest = request.name.rsplit("/", 1)[-1]
        if digest not in self.slots.values():
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such engine is installed")
        if self.trouble == "activate" and digest != self.own.digest:
            return _failed("its self-test failed: 12 of 12 numbers are off")
        if digest != self.slots["active"]:
            kept = {slot: held for slot, held in self.slots.items() if held != digest and slot != "active"}
            self.slots = {**kept, "previous": self.slots["active"], "active": digest}
        return _done(self.engines[digest])

    async def VerifyEngine(self, request: Any, context: Any) -> operations_pb2.Operation:  # noqa: N802
        """Reads it again: a simulated engine has nothing that could be damaged."""
        digest = request.name.rsplit("/", 1)[-1]
        if digest not in self.slots.values():
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such engine is installed")
        return _done(self.engines[digest])

    def _upload(self, sha256: str) -> engines_pb2.EngineUpload:
        return engines_pb2.EngineUpload(
            name=f"devices/-/engineUploads/{sha256}",
            sha256=sha256,
            size_bytes=self.sizes[sha256],
            received_bytes=len(self.uploads[sha256]),
        )


def _done(engine: engines_pb2.Engine) -> operations_pb2.Operation:
    made = operations_pb2.Operation(name="devices/-/operations/1", done=True)
    made.response.Pack(engine)
    return made


def _failed(why: str) -> operations_pb2.Operation:
    made = operations_pb2.Operation(name="devices/-/operations/1", done=True)
    made.error.code = grpc.StatusCode.FAILED_PRECONDITION.value[0]
    made.error.message = why
    return made
