"""A device written from the protos alone: a real gRPC server over a real socket that does what a test says.

Keeps its inspections when it is stopped, so that it can come back on the same port as a device does.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image, UnidentifiedImageError

from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    inspections_pb2,
    inspections_pb2_grpc,
    recipes_pb2,
    recipes_pb2_grpc,
    results_pb2,
    reviews_pb2,
    reviews_pb2_grpc,
    stations_pb2,
    stations_pb2_grpc,
)

OK = results_pb2.RESULT_EVALUATION_OK
NOT_OK = results_pb2.RESULT_EVALUATION_NOT_OK
NOT_DECIDABLE = results_pb2.RESULT_EVALUATION_NOT_DECIDABLE

RECIPE_TEXT = """\
recipe: tray-check
regions: {cap: [0.05, 0.2, 0.4, 0.7]}
ask:
  - {id: cap, region: cap, question: "Is the cap on straight?", answer: {choice: [ok, cracked]}}
limits: {deadline_ms: 400}
"""

# The smallest valid JPEG there is room for here: one grey pixel.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300ffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0000b0800010001"
    "01011100ffc40014000100000000000000000000000000000003ffc40014100100000000000000000000000000000000ffda"
    "0008010100003f0037ffd9"
)


def stamp(when: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(when)
    return made


def inspection(
    number: int,
    evaluation: results_pb2.ResultEvaluation.ValueType = OK,
    *,
    station: str = "st1",
    part_id: str | None = None,
    label: str = "ok",
    when: datetime | None = None,
) -> results_pb2.Inspection:
    """An inspection as a device would store it; its sequence comes when it is stored."""
    at = when or datetime.now(UTC)
    bad = evaluation == NOT_OK
    box = results_pb2.Box(x0=0.2, y0=0.2, x1=0.5, y1=0.6)
    made = results_pb2.Inspection(
        result_id=f"0190aaaa-0000-7000-8000-{number:012d}",
        station=station,
        camera="cam1",
        part_id=part_id if part_id is not None else f"part-{number:04d}",
        part_id_given=True,
        evaluation=evaluation,
        outcomes=[
            results_pb2.AskOutcome(
                ask="cap",
                kind="choice",
                text_value=label,
                confidence=0.97,
                probabilities={label: 0.97, "other": 0.03},
                box=box,
            )
        ],
        trigger=results_pb2.TRIGGER_KIND_MOTION,
        recipe=results_pb2.RecipeRef(recipe="tray-check", version=7, hash="ab" * 32),
        engine=results_pb2.EngineRef(engine="qc", version="3", digest="cd" * 32, runtime="onnxruntime"),
        trigger_time=stamp(at),
        capture_time=stamp(at),
        decide_time=stamp(at),
        clock_synchronised=True,
        processing_times_ms={"vision": 9.1, "decode": 6.0, "trigger_to_verdict": 38.2},
        frame_age_ms=14.0,
        row_hash="ef" * 32,
        prev_hash="01" * 32,
    )
    if bad:
        made.findings.append(
            results_pb2.Finding(ask="cap", label=label, confidence=0.97, is_defect=True, box=box)
        )
        made.reasons.append(
            results_pb2.Reason(code=results_pb2.REASON_CODE_FINDING, message=f"cap: {label}", ask="cap")
        )
    return made


class ScriptedDevice(
    cameras_pb2_grpc.CameraServiceServicer,
    devices_pb2_grpc.DeviceServiceServicer,
    inspections_pb2_grpc.InspectionServiceServicer,
    recipes_pb2_grpc.RecipeServiceServicer,
    reviews_pb2_grpc.ReviewServiceServicer,
    stations_pb2_grpc.StationServiceServicer,
):
    """A device with stations and one camera. `start` and `stop` may be called again and again."""

    def __init__(self, device: str = "edge-07", stations: tuple[str, ...] = ("st1",)) -> None:
        self.device_id = device
        self.stations = {name: _station(name) for name in stations}
        self.port = 0
        self.frame = JPEG
        self.recipe_text = RECIPE_TEXT
        self.clock_synchronised = True
        self.watches: list[int] = []
        self.reviews: list[reviews_pb2.Review] = []
        self._review_requests: set[str] = set()
        self.frame_calls = 0
        self.evidence_calls = 0
        self._stored: list[results_pb2.Inspection] = []
        self._pictures: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._server: grpc.Server | None = None
        self._alive = False

    # What a test does with it.

    def start(self) -> None:
        self._alive = True
        server = grpc.server(futures.ThreadPoolExecutor(16, "device"), options=(("grpc.so_reuseport", 0),))
        cameras_pb2_grpc.add_CameraServiceServicer_to_server(self, server)
        devices_pb2_grpc.add_DeviceServiceServicer_to_server(self, server)
        inspections_pb2_grpc.add_InspectionServiceServicer_to_server(self, server)
        recipes_pb2_grpc.add_RecipeServiceServicer_to_server(self, server)
        reviews_pb2_grpc.add_ReviewServiceServicer_to_server(self, server)
        stations_pb2_grpc.add_StationServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        server.start()
        self._server = server

    def stop(self) -> None:
        """As if the process was killed: every call ends at once."""
        with self._changed:
            self._alive = False
            self._changed.notify_all()
        if self._server is not None:
            self._server.stop(grace=None).wait(10)
            self._server = None

    def store(
        self,
        made: results_pb2.Inspection,
        *,
        frame: bytes | None = None,
        crops: dict[str, bytes] | None = None,
    ) -> results_pb2.Inspection:
        """Stores an inspection with its pictures, under the next sequence number."""
        pictures = [("frame", "", frame)] + [("crop", ask, crop) for ask, crop in (crops or {}).items()]
        with self._changed:
            for role, ask, data in pictures:
                if data is None:
                    continue
                evidence_id = hashlib.sha256(data).hexdigest()
                self._pictures[evidence_id] = data
                try:
                    width, height = Image.open(io.BytesIO(data)).size
                except UnidentifiedImageError:
                    width, height = 1, 1
                made.evidence.append(
                    results_pb2.Evidence(
                        name=f"devices/{self.device_id}/evidence/{evidence_id}",
                        evidence_id=evidence_id,
                        role=role,
                        ask=ask or None,
                        media_type="image/jpeg",
                        width=width,
                        height=height,
                        size_bytes=len(data),
                    )
                )
            made.sequence = (self._stored[-1].sequence if self._stored else 0) + 1
            made.device = self.device_id
            made.name = f"devices/{self.device_id}/inspections/{made.result_id}"
            self._stored.append(made)
            self._changed.notify_all()
        return made

    def forget_everything(self) -> None:
        """As if the device was replaced by a new one of the same name."""
        with self._changed:
            self._stored.clear()

    def tamper(self, evidence_id: str, data: bytes) -> None:
        self._pictures[evidence_id] = data

    # What the protos promise.

    def GetDevice(self, request, context):  # noqa: N802
        last = self._stored[-1].sequence if self._stored else 0
        return devices_pb2.GetDeviceResponse(
            device=devices_pb2.Device(
                name=f"devices/{self.device_id}",
                device=self.device_id,
                site="Nord",
                area="Filling",
                line="Line 2",
                software_version="0.1.0",
                time=stamp(datetime.now(UTC)),
                clock_synchronised=self.clock_synchronised,
                engine=results_pb2.EngineRef(
                    engine="qc", version="3", digest="cd" * 32, runtime="onnxruntime"
                ),
                engine_state=devices_pb2.ENGINE_STATE_READY,
                last_sequence=last,
            )
        )

    def ListStations(self, request, context):  # noqa: N802
        return stations_pb2.ListStationsResponse(stations=list(self.stations.values()))

    def ListCameras(self, request, context):  # noqa: N802
        camera = cameras_pb2.Camera(camera="cam1", connected=True, width=960, height=540)
        camera.last_frame_age.FromMilliseconds(120)
        return cameras_pb2.ListCamerasResponse(cameras=[camera])

    def GetFrame(self, request, context):  # noqa: N802
        self.frame_calls += 1
        answer = cameras_pb2.GetFrameResponse(
            image=self.frame, media_type="image/jpeg", width=960, height=540
        )
        answer.age.FromMilliseconds(40)
        return answer

    def GetInspection(self, request, context):  # noqa: N802
        for stored in self._stored:
            if request.name.endswith("/" + stored.result_id):
                return inspections_pb2.GetInspectionResponse(inspection=stored)
        context.abort(grpc.StatusCode.NOT_FOUND, "no such inspection")
        return None

    def ListInspections(self, request, context):  # noqa: N802
        before = int(request.page_token or 1 << 60)
        older = [i for i in reversed(self._stored) if i.sequence < before]
        page = older[: request.page_size]
        token = str(page[-1].sequence) if len(older) > len(page) else ""
        return inspections_pb2.ListInspectionsResponse(inspections=page, next_page_token=token)

    def WatchInspections(self, request, context) -> Iterator[inspections_pb2.WatchInspectionsResponse]:  # noqa: N802
        cursor = request.after_sequence
        self.watches.append(cursor)
        yield _progress(cursor)
        while self._alive and context.is_active():
            with self._changed:
                new = [i for i in self._stored if i.sequence > cursor]
                if not new and not self._changed.wait(0.5):
                    continue
            for stored in new:
                cursor = stored.sequence
                yield inspections_pb2.WatchInspectionsResponse(inspection=stored)
            yield _progress(cursor)

    def GetEvidence(self, request, context):  # noqa: N802
        self.evidence_calls += 1
        data = self._pictures.get(request.name.rsplit("/", 1)[-1])
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "not kept any more")
            return
        for offset in range(request.offset, len(data), 1000):
            yield inspections_pb2.GetEvidenceResponse(
                offset=offset, data=data[offset : offset + 1000], size_bytes=len(data)
            )

    def SubmitReview(self, request, context):  # noqa: N802
        result_id = request.review.inspection.rsplit("/", 1)[-1]
        if all(stored.result_id != result_id for stored in self._stored):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such inspection")
        if request.request_id not in self._review_requests:
            self._review_requests.add(request.request_id)
            self.reviews.append(request.review)
        return reviews_pb2.SubmitReviewResponse(review=request.review)

    def GetRecipe(self, request, context):  # noqa: N802
        return recipes_pb2.GetRecipeResponse(recipe=recipes_pb2.Recipe(text=self.recipe_text))


def _station(name: str) -> stations_pb2.Station:
    return stations_pb2.Station(
        station=name,
        cameras=["cam1"],
        recipe=results_pb2.RecipeRef(recipe="tray-check", version=7, hash="ab" * 32),
        ready=True,
    )


def _progress(sequence: int) -> inspections_pb2.WatchInspectionsResponse:
    return inspections_pb2.WatchInspectionsResponse(
        progress=inspections_pb2.WatchProgress(sequence=sequence, time=stamp(datetime.now(UTC)))
    )
