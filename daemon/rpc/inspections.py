"""InspectionService: judging on request, and reading what was judged.

Watching keeps nothing on the server but a cursor: a client resumes with the last sequence it has
dealt with, on this process or the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
from google.protobuf import field_mask_pb2

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert, filter, pictures
from lineside.daemon.rpc.asking import checked_expected, checked_part_id, checked_request_id
from lineside.daemon.rpc.errors import RpcFault, bad_field, not_found, stopping
from lineside.daemon.rpc.masks import checked_mask, masked
from lineside.daemon.rpc.names import check_device, child_id, child_name
from lineside.daemon.rpc.paging import decode_token, encode_token, number_of, page_size
from lineside.daemon.rpc.ports import EvidenceGone, ReadsResults
from lineside.daemon.rpc.slots import Slots
from lineside.daemon.rpc.stations import station_of
from lineside.daemon.values import Result, TriggerKind
from lineside.v1 import inspections_pb2, inspections_pb2_grpc

LONGEST_WAIT_S = 60.0
CHUNK_BYTES = 256 * 1024
WATCH_BATCH = 100
LOOK_UP_S = 0.5  # how often a waiting call looks whether it is still wanted


@dataclass(frozen=True, slots=True)
class Bounds:
    """The slots of calls that hold a thread, and the longest silence of a watch in seconds."""

    waiting: Slots
    watching: Slots
    sending: Slots
    heartbeat_s: float


class InspectionService(inspections_pb2_grpc.InspectionServiceServicer):
    """Judges through the appliance, reads from the store. `stop` set means: end all waiting."""

    def __init__(
        self,
        appliance: RunningAppliance,
        results: ReadsResults,
        clock: Clock,
        bounds: Bounds,
        stop: threading.Event,
    ) -> None:
        self._appliance = appliance
        self._results = results
        self._clock = clock
        self._bounds = bounds
        self._stop = stop

    def Inspect(  # noqa: N802 - the contract's name
        self, request: inspections_pb2.InspectRequest, context: grpc.ServicerContext
    ) -> inspections_pb2.InspectResponse:
        """Judges a part and waits for its verdict."""
        # Taken before the trigger: a caller that cannot wait must not have a part judged behind its back.
        with self._bounds.waiting.take():
            result_id = self._start(request)
            result = self._wait(result_id, context)
        return inspections_pb2.InspectResponse(inspection=convert.inspection(result))

    def GetInspection(  # noqa: N802 - the contract's name
        self, request: inspections_pb2.GetInspectionRequest, context: grpc.ServicerContext
    ) -> inspections_pb2.GetInspectionResponse:
        """One stored inspection."""
        mask = checked_mask(request.read_mask)
        result_id = child_id(request.name, "inspections", self._device(), "name")
        result = self._results.get(result_id)
        if result is None:
            raise not_found("Inspection", request.name, f"no inspection '{result_id}' is stored (yet)")
        return inspections_pb2.GetInspectionResponse(inspection=masked(convert.inspection(result), mask))

    def ListInspections(  # noqa: N802 - the contract's name
        self, request: inspections_pb2.ListInspectionsRequest, context: grpc.ServicerContext
    ) -> inspections_pb2.ListInspectionsResponse:
        """One page of stored inspections, newest first."""
        check_device(request.parent, self._device(), "parent")
        try:
            comparisons = filter.parse(request.filter)
        except filter.BadFilter as error:
            raise bad_field("filter", str(error)) from error
        mask = checked_mask(request.read_mask)
        arguments = {"list": "inspections", "filter": request.filter}
        size = page_size(request.page_size)
        cursor = decode_token(request.page_token, arguments)
        found = self._results.find(comparisons, page_size=size, before_sequence=number_of(cursor))
        token = encode_token(str(found.next_before), arguments) if found.next_before is not None else ""
        return inspections_pb2.ListInspectionsResponse(
            inspections=[masked(convert.inspection(result), mask) for result in found.results],
            next_page_token=token,
        )

    def WatchInspections(  # noqa: N802 - the contract's name
        self, request: inspections_pb2.WatchInspectionsRequest, context: grpc.ServicerContext
    ) -> Iterator[inspections_pb2.WatchInspectionsResponse]:
        """Everything after a cursor, then what is new."""
        check_device(request.parent, self._device(), "parent")
        station = (
            station_of(self._appliance, request.station, "station")[0].station if request.station else None
        )
        mask = checked_mask(request.read_mask)
        with self._bounds.watching.take():
            yield from self._watch(self._start_of(request), station, mask, context)

    def GetEvidence(  # noqa: N802 - the contract's name
        self, request: inspections_pb2.GetEvidenceRequest, context: grpc.ServicerContext
    ) -> Iterator[inspections_pb2.GetEvidenceResponse]:
        """A stored picture in chunks."""
        evidence_id = child_id(request.name, "evidence", self._device(), "name")
        if request.offset < 0:
            raise bad_field("offset", f"{request.offset} is negative")
        with self._bounds.sending.take():
            try:
                data = self._results.read_evidence(evidence_id)
            except EvidenceGone as error:
                raise not_found("Evidence", request.name, str(error)) from error
            if request.offset > len(data):
                raise RpcFault(
                    grpc.StatusCode.OUT_OF_RANGE,
                    "OFFSET_BEYOND_END",
                    f"the picture has {len(data)} bytes, {request.offset} is beyond them",
                    metadata={"size_bytes": str(len(data))},
                )
            for offset in range(request.offset, max(len(data), request.offset + 1), CHUNK_BYTES):
                yield inspections_pb2.GetEvidenceResponse(
                    offset=offset, data=data[offset : offset + CHUNK_BYTES], size_bytes=len(data)
                )

    def _device(self) -> str:
        return self._appliance.device().device

    def _start(self, request: inspections_pb2.InspectRequest) -> str:
        part_id = checked_part_id(request.part_id if request.HasField("part_id") else None)
        expected = checked_expected(request.expected)
        request_id = checked_request_id(request.request_id)
        station = station_of(self._appliance, request.station, "station")[0].station
        if request.HasField("image"):
            picture = pictures.decode(request.image, "image")
            return self._appliance.inspect_picture(
                station, picture, part_id=part_id, expected=expected, request_id=request_id
            )
        return self._appliance.trigger(
            station, part_id=part_id, expected=expected, source=TriggerKind.GRPC, request_id=request_id
        )

    def _wait(self, result_id: str, context: grpc.ServicerContext) -> Result:
        """The verdict. Ends a little before the caller's deadline, so that the answer still reaches it."""
        left = context.time_remaining()
        left = LONGEST_WAIT_S if left is None else min(left, LONGEST_WAIT_S)
        end = time.monotonic() + left - min(0.3, left / 5)
        while True:
            result = self._appliance.wait_for(result_id, max(0.0, min(LOOK_UP_S, end - time.monotonic())))
            if result is not None:
                return result
            if self._stop.is_set():
                raise stopping(result_id=result_id)
            if time.monotonic() >= end or not context.is_active():
                raise RpcFault(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    "VERDICT_PENDING",
                    f"no verdict yet: read {child_name(self._device(), 'inspections', result_id)} later",
                    metadata={"result_id": result_id},
                )

    def _start_of(self, request: inspections_pb2.WatchInspectionsRequest) -> int:
        newest = self._results.last_sequence()
        if not request.HasField("after_sequence"):
            return newest
        if request.after_sequence < 0:
            raise bad_field("after_sequence", f"{request.after_sequence} is negative")
        if request.after_sequence > newest:
            # A cursor from another life of this device's store: going on silently would skip results.
            raise RpcFault(
                grpc.StatusCode.OUT_OF_RANGE,
                "CURSOR_AHEAD",
                f"the newest sequence here is {newest}, you have {request.after_sequence}: "
                "the device's store was replaced, start again from 0",
                metadata={"last_sequence": str(newest)},
            )
        return request.after_sequence

    def _watch(
        self,
        cursor: int,
        station: str | None,
        mask: field_mask_pb2.FieldMask | None,
        context: grpc.ServicerContext,
    ) -> Iterator[inspections_pb2.WatchInspectionsResponse]:
        yield self._progress(cursor)
        spoken = time.monotonic()
        while context.is_active():
            batch = self._results.since(cursor, WATCH_BATCH)
            for result in batch:
                if station in {None, result.draft.intake.station}:
                    message = masked(convert.inspection(result), mask)
                    message.sequence = result.sequence
                    yield inspections_pb2.WatchInspectionsResponse(inspection=message)
                    spoken = time.monotonic()
                cursor = result.sequence
                if self._stop.is_set():
                    break
            if self._stop.is_set():
                yield self._progress(cursor)
                raise stopping(sequence=str(cursor))
            if time.monotonic() - spoken >= self._bounds.heartbeat_s:
                yield self._progress(cursor)
                spoken = time.monotonic()
            if not batch:
                self._results.wait_beyond(cursor, min(LOOK_UP_S, self._bounds.heartbeat_s))

    def _progress(self, cursor: int) -> inspections_pb2.WatchInspectionsResponse:
        return inspections_pb2.WatchInspectionsResponse(
            progress=inspections_pb2.WatchProgress(sequence=cursor, time=convert.timestamp(self._clock.now()))
        )
