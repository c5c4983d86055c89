"""One simulated device: its results, its pictures, and the answers it gives over gRPC (asyncio)."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from lineside.dashboard.simulator.engines import EngineBench
from lineside.dashboard.simulator.pictures import drawn
from lineside.dashboard.simulator.recipes import RecipeBench
from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    engines_pb2_grpc,
    inspections_pb2,
    inspections_pb2_grpc,
    recipes_pb2_grpc,
    results_pb2,
    stations_pb2,
    stations_pb2_grpc,
)

KEPT = 5000
"""Results a device keeps; older ones are gone, as on a device whose disk is full."""
LABELS = ("missing", "tilted", "cracked")
WATCH_WORD_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a device is and how its line runs. Shares are 0 to 1; `every_s` from part to part."""

    device: str
    site: str
    area: str
    line: str
    station: str
    seed: int
    every_s: float = 2.0
    bad_share: float = 0.01
    unsure_share: float = 0.01
    engine_version: str = "3"
    recipe_version: int = 7
    ready: bool = True
    outbox_s: float = 0.0
    engine_trouble: str = ""  # of `engines.TROUBLES`


@dataclass(slots=True)
class SimulatedDevice(
    cameras_pb2_grpc.CameraServiceServicer,
    devices_pb2_grpc.DeviceServiceServicer,
    inspections_pb2_grpc.InspectionServiceServicer,
    stations_pb2_grpc.StationServiceServicer,
):
    """A device of a plan. Used in one event loop."""

    plan: Plan
    stored: list[results_pb2.Inspection] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _server: grpc.aio.Server | None = None
    _random: random.Random = field(default_factory=random.Random)
    engines: EngineBench = field(init=False)
    asked: dict[str, results_pb2.Inspection] = field(default_factory=dict)
    recipes: RecipeBench = field(init=False)

    def __post_init__(self) -> None:
        self._random.seed(self.plan.seed)
        version = self.plan.engine_version
        digest = hashlib.sha256(f"simulated {version}".encode()).hexdigest()
        own = results_pb2.EngineRef(engine="simulated", version=version, digest=digest, runtime="none")
        # What they do not implement their bases answer with UNIMPLEMENTED: the stubs take that for abstract.
        self.engines = EngineBench(own, self.plan.engine_trouble)  # type: ignore[abstract]
        self.recipes = RecipeBench(self.plan.station, self.plan.recipe_version)  # type: ignore[abstract]

    async def start(self, port: int) -> None:
        """Listens on this machine; port 0 takes a free one."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        cameras_pb2_grpc.add_CameraServiceServicer_to_server(self, server)
        devices_pb2_grpc.add_DeviceServiceServicer_to_server(self, server)
        inspections_pb2_grpc.add_InspectionServiceServicer_to_server(self, server)
        engines_pb2_grpc.add_EngineServiceServicer_to_server(self.engines, server)
        recipes_pb2_grpc.add_RecipeServiceServicer_to_server(self.recipes, server)
        stations_pb2_grpc.add_StationServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """As if the power went: every call ends at once."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def run(self) -> None:
        """Judges part after part until cancelled."""
        await asyncio.sleep(self._random.uniform(0, self.plan.every_s))
        while True:
            self.judge(datetime.now(UTC))
            await asyncio.sleep(self.plan.every_s * self._random.uniform(0.8, 1.2))

    def past(self, parts: int, now: datetime) -> None:
        """Fills the past with so many parts, the last one just now."""
        for ahead in range(parts, 0, -1):
            self.judge(now - timedelta(seconds=self.plan.every_s * ahead))

    def judge(self, at: datetime, part_id: str = "") -> results_pb2.Inspection:
        """Stores the next part's result."""
        drawn_share = self._random.random()
        plan = self.plan
        label, evaluation, sure = "ok", results_pb2.RESULT_EVALUATION_OK, self._random.uniform(0.95, 0.999)
        if drawn_share < plan.bad_share:
            label = self._random.choice(LABELS)
            evaluation = results_pb2.RESULT_EVALUATION_NOT_OK
        elif drawn_share < plan.bad_share + plan.unsure_share:
            label, sure = self._random.choice(LABELS), self._random.uniform(0.45, 0.6)
            evaluation = results_pb2.RESULT_EVALUATION_NOT_DECIDABLE
        if self.engines.decides_nothing:
            sure, evaluation = 0.4, results_pb2.RESULT_EVALUATION_NOT_DECIDABLE
        made = self._inspection(at, label, sure, evaluation)
        made.part_id = part_id or made.part_id
        self.stored.append(made)
        if len(self.stored) > KEPT:
            del self.stored[: KEPT // 10]
        news, self._news = self._news, asyncio.Event()
        news.set()
        return made

    def _inspection(
        self, at: datetime, label: str, sure: float, evaluation: results_pb2.ResultEvaluation.ValueType
    ) -> results_pb2.Inspection:
        last = self.stored[-1] if self.stored else None
        number = last.sequence + 1 if last is not None else 1
        draw = self._random
        box = results_pb2.Box(x0=0.36, y0=0.16, x1=0.64, y1=0.46)
        made = results_pb2.Inspection(
            result_id=f"{int(at.timestamp() * 1000):012x}-{self.plan.seed:08x}-{number:08x}",
            sequence=number,
            device=self.plan.device,
            station=self.plan.station,
            camera="cam1",
            part_id=f"{at:%j}-{self.plan.seed:03d}-{number:06d}",
            evaluation=evaluation,
            outcomes=[
                results_pb2.AskOutcome(
                    ask="cap",
                    kind="choice",
                    text_value=label,
                    confidence=sure,
                    probabilities={label: sure, "ok" if label != "ok" else "tilted": 1 - sure},
                    familiarity=draw.uniform(0.3, 0.8),
                    box=box,
                )
            ],
            trigger=results_pb2.TRIGGER_KIND_MOTION,
            is_simulated=True,
            expected={"lot": f"L{at:%y%m%d}{'ABC'[at.hour // 8]}"},
            recipe=self.recipes.ref(self.recipes.active),
            engine=self.engines.active,
            clock_synchronised=True,
            processing_times_ms={
                "vision": draw.uniform(8, 11),
                "prefill": draw.uniform(5, 7),
                "decode": draw.uniform(8, 14),
                "trigger_to_verdict": draw.uniform(30, 60),
            },
            frame_age_ms=draw.uniform(5, 30),
            part_box=results_pb2.Box(x0=0.3, y0=0.1, x1=0.7, y1=0.9),
            prev_hash=last.row_hash if last is not None else "0" * 64,
        )
        for stamped in (made.trigger_time, made.capture_time, made.decide_time):
            stamped.FromDatetime(at)
        if evaluation == results_pb2.RESULT_EVALUATION_NOT_OK:
            made.findings.append(
                results_pb2.Finding(ask="cap", label=label, confidence=sure, is_defect=True, box=box)
            )
            code, words = results_pb2.REASON_CODE_FINDING, f"cap is {label}"
            made.reasons.append(results_pb2.Reason(code=code, message=words, ask="cap"))
        elif evaluation == results_pb2.RESULT_EVALUATION_NOT_DECIDABLE:
            code, words = results_pb2.REASON_CODE_LOW_CONFIDENCE, f"cap: {label} with {sure:.2f}, below 0.90"
            made.reasons.append(results_pb2.Reason(code=code, message=words, ask="cap"))
        for role, picture, size in drawn(label, self.plan.seed % 7):
            evidence_id = hashlib.sha256(picture).hexdigest()
            self.pictures[evidence_id] = picture
            made.evidence.append(
                results_pb2.Evidence(
                    name=f"devices/{self.plan.device}/evidence/{evidence_id}",
                    evidence_id=evidence_id,
                    role=role,
                    ask="cap" if role == "crop" else None,
                    media_type="image/jpeg",
                    width=size[0],
                    height=size[1],
                    size_bytes=len(picture),
                )
            )
        made.row_hash = hashlib.sha256(made.SerializeToString(deterministic=True)).hexdigest()
        return made

    # What the protos promise.

    async def GetDevice(self, request: Any, context: Any) -> devices_pb2.GetDeviceResponse:  # noqa: N802
        """The device."""
        now = Timestamp()
        now.FromDatetime(datetime.now(UTC))
        waits = self.plan.outbox_s > 0
        device = devices_pb2.Device(
            name=f"devices/{self.plan.device}",
            device=self.plan.device,
            site=self.plan.site,
            area=self.plan.area,
            line=self.plan.line,
            software_version="0.1.0",
            time=now,
            clock_synchronised=True,
            engine=self.engines.active,
            engine_state=devices_pb2.ENGINE_STATE_READY,
            last_sequence=self.stored[-1].sequence if self.stored else 0,
            outbox=[devices_pb2.OutboxDepth(consumer="mqtt", depth=int(waits) * 240)],
            disk_free_bytes=(40 + self.plan.seed % 50) * 1024**3,
        )
        if waits:
            device.outbox_oldest_age.FromTimedelta(timedelta(seconds=self.plan.outbox_s))
        return devices_pb2.GetDeviceResponse(device=device)

    async def ListStations(self, request: Any, context: Any) -> stations_pb2.ListStationsResponse:  # noqa: N802
        """Its one station."""
        station = stations_pb2.Station(
            station=self.plan.station,
            cameras=["cam1"],
            recipe=self.recipes.ref(self.recipes.active),
            ready=self.plan.ready,
            not_ready_because=[] if self.plan.ready else ["camera cam1 delivers nothing"],
        )
        return stations_pb2.ListStationsResponse(stations=[station])

    async def ListCameras(self, request: Any, context: Any) -> cameras_pb2.ListCamerasResponse:  # noqa: N802
        """Its one camera."""
        camera = cameras_pb2.Camera(camera="cam1", connected=self.plan.ready, width=640, height=480)
        camera.last_frame_age.FromMilliseconds(40)
        return cameras_pb2.ListCamerasResponse(cameras=[camera])

    async def GetFrame(self, request: Any, context: Any) -> cameras_pb2.GetFrameResponse:  # noqa: N802
        """The newest frame: a good part."""
        _role, picture, (width, height) = drawn("ok", self.plan.seed % 7)[0]
        answer = cameras_pb2.GetFrameResponse(
            image=picture, media_type="image/jpeg", width=width, height=height
        )
        answer.age.FromMilliseconds(40)
        return answer

    async def Inspect(self, request: Any, context: Any) -> inspections_pb2.InspectResponse:  # noqa: N802
        """Judges a part at once, whatever the picture shows; the same request gives the same result."""
        known = self.asked.get(request.request_id)
        if known is None:
            known = self.judge(datetime.now(UTC), request.part_id)
            self.asked[request.request_id] = known
        return inspections_pb2.InspectResponse(inspection=known)

    async def GetInspection(self, request: Any, context: Any) -> inspections_pb2.GetInspectionResponse:  # noqa: N802
        """One stored result."""
        for stored in reversed(self.stored):
            if request.name.endswith(f"/{stored.result_id}"):
                return inspections_pb2.GetInspectionResponse(inspection=stored)
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such inspection")
        raise AssertionError

    async def ListInspections(  # noqa: N802
        self, request: Any, context: Any
    ) -> inspections_pb2.ListInspectionsResponse:
        """Stored results, newest first."""
        before = int(request.page_token or 1 << 60)
        size = min(request.page_size or 50, 500)
        older = [i for i in reversed(self.stored) if i.sequence < before]
        token = str(older[size - 1].sequence) if len(older) > size else ""
        return inspections_pb2.ListInspectionsResponse(inspections=older[:size], next_page_token=token)

    async def WatchInspections(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[inspections_pb2.WatchInspectionsResponse]:
        """Everything after a cursor, then what comes."""
        cursor = request.after_sequence
        yield self._progress(cursor)
        while True:
            news = self._news
            first = self.stored[0].sequence if self.stored else 1
            for stored in self.stored[max(0, cursor + 1 - first) :]:
                cursor = stored.sequence
                yield inspections_pb2.WatchInspectionsResponse(inspection=stored)
            try:
                await asyncio.wait_for(news.wait(), WATCH_WORD_S)
            except TimeoutError:
                yield self._progress(cursor)

    def _progress(self, sequence: int) -> inspections_pb2.WatchInspectionsResponse:
        word = inspections_pb2.WatchInspectionsResponse(
            progress=inspections_pb2.WatchProgress(sequence=sequence)
        )
        word.progress.time.FromDatetime(datetime.now(UTC))
        return word

    async def GetEvidence(  # noqa: N802
        self, request: Any, context: Any
    ) -> AsyncIterator[inspections_pb2.GetEvidenceResponse]:
        """A picture in chunks."""
        data = self.pictures.get(request.name.rsplit("/", 1)[-1])
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not kept")
            return
        for offset in range(request.offset, len(data), 64 * 1024):
            chunk = data[offset : offset + 64 * 1024]
            yield inspections_pb2.GetEvidenceResponse(offset=offset, data=chunk, size_bytes=len(data))
