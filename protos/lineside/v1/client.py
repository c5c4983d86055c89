"""A small client of `lineside.v1` for MES and test programs: connects, retries, follows, never asks twice.

    from lineside.v1.client import Client, Tls

    with Client("box7:50051", Tls("mes.key", "mes.crt", "fleet-ca.crt"), server_name="box7") as box:
        verdict = box.inspect("st1", part_id="SN-1", expected={"lot": "L77"})
        for inspection in box.follow(after_sequence=read_cursor()):
            book(inspection)
            write_cursor(inspection.sequence)

Needs `grpcio` and the generated code beside it; knows nothing of the rest of the package. The stubs of all
services are `box.devices`, `box.jobs` and so on; `box.call` gives their calls the same retries.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from lineside.v1 import (
    cameras_pb2_grpc,
    devices_pb2_grpc,
    engines_pb2,
    engines_pb2_grpc,
    inspections_pb2,
    inspections_pb2_grpc,
    jobs_pb2_grpc,
    recipes_pb2_grpc,
    results_pb2,
    reviews_pb2_grpc,
    stations_pb2_grpc,
)

CHUNK_BYTES = 1024 * 1024
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 10.0
_READS = ("Get", "List", "Validate", "Wait", "Watch")


class Failed(Exception):
    """A call that failed for good. `code` is gRPC's, `reason` the device's stable word for it."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, metadata: Mapping[str, str]) -> None:
        super().__init__(f"{code.name} {reason}: {message}".replace(" :", ":"))
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of mutual TLS: the client's key and certificate, and the fleet's authority."""

    key: str | Path
    certificate: str | Path
    authority: str | Path

    def credentials(self) -> grpc.ChannelCredentials:
        """The files as gRPC takes them. Raises OSError."""
        return grpc.ssl_channel_credentials(
            Path(self.authority).read_bytes(),
            Path(self.key).read_bytes(),
            Path(self.certificate).read_bytes(),
        )


class Client:
    """One device. Thread-safe; close it, or use it in a `with`.

    `server_name`: the name in the device's certificate, where the address is another one. `attempts`: how
    often a call is tried that may be tried again: one that only reads, or has a `request_id`, which is made
    where none is given.
    """

    def __init__(
        self,
        address: str,
        tls: Tls | None = None,
        *,
        server_name: str | None = None,
        timeout_s: float = 30.0,
        attempts: int = 6,
        sleep: Callable[[float], None] = time.sleep,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """Raises OSError: a file of `tls` cannot be read. It does not connect yet."""
        options: list[tuple[str, Any]] = [
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.max_receive_message_length", 33 * 1024 * 1024),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.enable_http_proxy", 0),
        ]
        if server_name is not None:
            options.append(("grpc.ssl_target_name_override", server_name))
        self.channel: grpc.Channel = (
            grpc.insecure_channel(address, options=options)
            if tls is None
            else grpc.secure_channel(address, tls.credentials(), options=options)
        )
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._sleep = sleep
        self._new_id = new_id
        self.devices = devices_pb2_grpc.DeviceServiceStub(self.channel)
        self.cameras = cameras_pb2_grpc.CameraServiceStub(self.channel)
        self.stations = stations_pb2_grpc.StationServiceStub(self.channel)
        self.recipes = recipes_pb2_grpc.RecipeServiceStub(self.channel)
        self.inspections = inspections_pb2_grpc.InspectionServiceStub(self.channel)
        self.jobs = jobs_pb2_grpc.JobServiceStub(self.channel)
        self.reviews = reviews_pb2_grpc.ReviewServiceStub(self.channel)
        self.engines = engines_pb2_grpc.EngineServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; calls under way fail."""
        self.channel.close()

    def call(self, method: Callable[..., Any], request: Message, timeout_s: float | None = None) -> Any:
        """Makes a unary call; tries again where the device was away and it does no harm.

        Raises:
            Failed: for good, or after all attempts.
        """
        if "request_id" in request.DESCRIPTOR.fields_by_name and not getattr(request, "request_id"):  # noqa: B009
            mine = type(request)()
            mine.CopyFrom(request)
            mine.request_id = self._new_id()  # type: ignore[attr-defined]
            request = mine
        repeatable = bool(getattr(request, "request_id", "")) or type(request).__name__.startswith(_READS)
        return self._again(
            lambda: method(request, timeout=timeout_s or self._timeout_s), self._attempts if repeatable else 1
        )

    def inspect(
        self,
        station: str,
        *,
        image: bytes | None = None,
        part_id: str | None = None,
        expected: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> results_pb2.Inspection:
        """Has a part judged and waits for its verdict; judged once, however often the network breaks.

        Only `evaluation == RESULT_EVALUATION_OK` is OK: no error is.

        Raises:
            Failed: among others with code DEADLINE_EXCEEDED: the verdict comes under `metadata["result_id"]`.
        """
        request = inspections_pb2.InspectRequest(
            station=f"devices/-/stations/{station}",
            part_id=part_id,
            expected=dict(expected or {}),
            image=image,
            request_id=self._new_id(),
        )
        return self.call(self.inspections.Inspect, request, timeout_s).inspection

    def follow(
        self, after_sequence: int | None = None, *, station: str | None = None
    ) -> Iterator[results_pb2.Inspection]:
        """Every inspection after a cursor, in order, none skipped and none twice, for ever.

        Broken connections and restarts of the device are waited out. `after_sequence` None: what is stored
        from now on. Keep the `sequence` of what you have dealt with: where to go on after a restart of yours.

        Raises:
            Failed: the device refuses: wrong role, unknown station, or CURSOR_AHEAD, its store was replaced.
        """
        cursor, delay = after_sequence, FIRST_DELAY_S
        while True:
            stream = self.inspections.WatchInspections(
                inspections_pb2.WatchInspectionsRequest(
                    after_sequence=cursor, station=f"devices/-/stations/{station}" if station else ""
                )
            )
            try:
                for event in stream:
                    delay = FIRST_DELAY_S
                    if event.WhichOneof("event") == "progress":
                        cursor = event.progress.sequence
                    else:
                        # Moved on before it is handed out: whoever takes it is asked to keep it, not us.
                        cursor = event.inspection.sequence
                        yield event.inspection
            except grpc.RpcError as error:
                wait_s = _wait_of(error, delay)
                if wait_s is None:
                    raise _failed(error) from error
                self._sleep(wait_s)
                delay = min(2 * delay, LONGEST_DELAY_S)
            finally:
                stream.cancel()

    def install_engine(
        self, bundle: Path, *, progress: Callable[[int, int], None] = lambda sent, size: None
    ) -> engines_pb2.Engine:
        """Sends an engine bundle and has it installed into STAGED; goes on where a transfer before broke off.

        Raises:
            Failed: it is refused, with the reason.
        """
        size = bundle.stat().st_size
        with bundle.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            announced = engines_pb2.CreateEngineUploadRequest(sha256=digest, size_bytes=size)
            # Announcing again changes nothing, so it may be tried again although it has no request_id.
            upload = self._again(
                lambda: self.engines.CreateEngineUpload(announced, timeout=self._timeout_s), self._attempts
            )
            name, at = upload.upload.name, upload.upload.received_bytes
            while at < size:
                file.seek(at)
                chunk = engines_pb2.WriteEngineUploadRequest(
                    name=name, offset=at, data=file.read(CHUNK_BYTES)
                )
                at = self._write(chunk)
                progress(at, size)
        operation = self.call(self.engines.InstallEngine, engines_pb2.InstallEngineRequest(upload=name))
        return self.engine_of(operation)

    def engine_of(self, operation: operations_pb2.Operation) -> engines_pb2.Engine:
        """Waits for an operation on engines, and gives its engine. Raises Failed: it did not succeed."""
        while not operation.done:
            asked = operations_pb2.WaitOperationRequest(
                name=operation.name, timeout=duration_pb2.Duration(seconds=20)
            )
            operation = self.call(self.operations.WaitOperation, asked, self._timeout_s + 20)
        if operation.HasField("error"):
            info = error_details_pb2.ErrorInfo()
            for detail in operation.error.details:
                detail.Unpack(info)
            code = next(one for one in grpc.StatusCode if one.value[0] == operation.error.code)
            raise Failed(code, info.reason, operation.error.message, info.metadata)
        engine = engines_pb2.Engine()
        operation.response.Unpack(engine)
        return engine

    def _write(self, chunk: engines_pb2.WriteEngineUploadRequest) -> int:
        # The device knows which bytes it has: sent twice, a chunk is written once.
        written = self._again(
            lambda: self.engines.WriteEngineUpload(chunk, timeout=self._timeout_s), self._attempts
        )
        return int(written.upload.received_bytes)

    def _again(self, act: Callable[[], Any], attempts: int) -> Any:
        delay = FIRST_DELAY_S
        for attempt in range(1, attempts + 1):
            try:
                return act()
            except grpc.RpcError as error:
                wait_s = _wait_of(error, delay) if attempt < attempts else None
                if wait_s is None:
                    raise _failed(error) from error
            self._sleep(wait_s)
            delay = min(2 * delay, LONGEST_DELAY_S)
        raise AssertionError("the last attempt returns or raises")


def _wait_of(error: grpc.RpcError, delay: float) -> float | None:
    """Seconds to wait before trying again; None when that would not help."""
    code, info = error.code(), _details(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        return delay
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "retry" in info:
        return max(delay, float(info["retry"]))
    return None


def _failed(error: grpc.RpcError) -> Failed:
    info = _details(error)
    metadata = info.get("metadata", {})
    return Failed(error.code(), str(info.get("reason", "")), error.details() or "", metadata)


def _details(error: grpc.RpcError) -> dict[str, Any]:
    found: dict[str, Any] = {}
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            found |= {"reason": info.reason, "metadata": dict(info.metadata)}
        elif detail.Unpack(retry):
            found["retry"] = retry.retry_delay.ToMilliseconds() / 1e3
    return found
