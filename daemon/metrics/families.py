"""From what runs to metric families: one function a subject, all in one list. Reads only; keeps nothing.

Counters count since the daemon started, but for evidence, which counts since the database began.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from lineside.daemon.appliance import Appliance
from lineside.daemon.engine_seat import EngineSeat
from lineside.daemon.engine_worker.settings import WorkerState
from lineside.daemon.metrics.latency import Latency
from lineside.daemon.outputs.output import OutputState
from lineside.daemon.reporting.link import LinkState
from lineside.daemon.reporting.reporter import MqttReporter
from lineside.daemon.sparkplug.reporter import SparkplugReporter
from lineside.daemon.store.store import Store
from lineside.daemon.unit import StationUnit
from lineside.daemon.values import Verdict

Label = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured."""

    appliance: Appliance
    store: Store
    engine: EngineSeat
    units: tuple[StationUnit, ...]
    reporter: MqttReporter | None
    latency: Latency
    sparkplug: SparkplugReporter | None = None


def device(measured: Measured) -> Iterator[Metric]:
    """The build, the clock, the disk."""
    state = measured.appliance.device()
    yield gauge(
        "build_info",
        "Always 1; which software runs on which device",
        {(state.software_version, platform.python_version(), state.device): 1},
        ("version", "python", "device"),
    )
    yield gauge(
        "start_time_seconds", "When the daemon started, Unix time", {(): state.started_at.timestamp()}
    )
    yield gauge(
        "clock_synchronised", "Whether the wall clock is to be believed", {(): state.clock_synchronised}
    )
    yield gauge("disk_free_bytes", "Free bytes where results are kept", {(): state.disk_free_bytes})


def stations(measured: Measured) -> Iterator[Metric]:
    """Parts and verdicts by station."""
    states = measured.appliance.stations()
    refused = measured.appliance.refused_triggers()
    units = {unit.station.name: unit for unit in measured.units}
    verdicts = {
        (state.station, verdict.value): count
        for state in states
        for verdict, count in (
            (Verdict.OK, state.ok),
            (Verdict.NOT_OK, state.not_ok),
            (Verdict.NOT_DECIDABLE, state.not_decidable),
        )
    }
    missed = {name: refused.get(name, 0) + unit.watcher.missed for name, unit in units.items()}
    unseen = {name: unit.watcher.frames.dropped for name, unit in units.items()}
    yield gauge(
        "station_ready",
        "Whether a trigger would be accepted",
        {s.station: s.ready for s in states},
        "station",
    )
    yield counter("triggers", "Parts accepted", {s.station: s.triggered for s in states}, "station")
    yield counter("triggers_missed", "Triggers that were not accepted", missed, "station")
    unrecorded = {name: unit.station.unrecorded for name, unit in units.items()}
    yield counter(
        "parts_unrecorded",
        "Parts judged and acted on that no row tells of: the store took nothing",
        unrecorded,
        "station",
    )
    yield counter("verdicts", "Parts judged", verdicts, ("station", "verdict"))
    yield gauge(
        "parts_pending", "Parts without a verdict yet", {s.station: s.pending for s in states}, "station"
    )
    yield counter(
        "frames_unseen", "Frames that no trigger looked at: the station is behind", unseen, "station"
    )
    yield measured.latency.family()


def outputs(measured: Measured) -> Iterator[Metric]:
    """Reject and ready outputs."""
    states = {
        (state.station, state.output): state for unit in measured.units for state in unit.outputs.states()
    }
    rejects = {key: state for key, state in states.items() if state.role == "reject"}
    labels = ("station", "output")
    yield gauge(
        "output_working", "Whether its line works", _each(states, lambda s: s.trouble is None), labels
    )
    yield counter("output_pulses", "Pulses asked for", _each(rejects, lambda s: s.asked), labels)
    yield counter(
        "output_pulses_late", "Pulses that began too late", _each(rejects, lambda s: s.late), labels
    )
    yield counter("output_pulses_failed", "Pulses with no line", _each(rejects, lambda s: s.failed), labels)


def cameras(measured: Measured) -> Iterator[Metric]:
    """Cameras as their threads see them."""
    states = measured.appliance.cameras()
    ages = {s.camera: s.last_frame_age_s for s in states if s.last_frame_age_s is not None}
    yield gauge(
        "camera_connected", "Whether pictures come", {s.camera: s.connected for s in states}, "camera"
    )
    yield counter("camera_frames", "Frames read", {s.camera: s.frames for s in states}, "camera")
    yield counter(
        "camera_frames_dropped", "Frames that made room", {s.camera: s.dropped for s in states}, "camera"
    )
    yield counter(
        "camera_reconnects", "Times it was opened again", {s.camera: s.reconnects for s in states}, "camera"
    )
    yield gauge("camera_frame_age_seconds", "Age of the newest frame", ages, "camera")


def engine(measured: Measured) -> Iterator[Metric]:
    """The engine's process."""
    status, info = measured.engine.status(), measured.engine.info
    known = {} if info is None else {(info.name, info.version, info.digest, info.runtime): 1}
    memory = {} if status.memory_bytes is None else {(): status.memory_bytes}
    yield gauge(
        "engine_info", "Always 1; which engine judges", known, ("name", "version", "digest", "runtime")
    )
    yield gauge("engine_ready", "Whether the engine answers", {(): status.state is WorkerState.READY})
    yield counter("engine_restarts", "Engine processes started after the first", {(): status.restarts})
    yield counter("engine_answers", "Questions answered", {(): status.answered})
    yield counter("engine_failures", "Questions that ended without an answer", {(): status.failed})
    yield counter("engine_cancelled", "Questions given up before they were asked", {(): status.cancelled})
    yield gauge("engine_waiting", "Questions that wait", {(): status.waiting})
    yield gauge("engine_memory_bytes", "Resident memory of the engine's process", memory)


def store(measured: Measured) -> Iterator[Metric]:
    """What is kept, and whether it can be."""
    health, counts = measured.store.healthy(), measured.store.counts()
    evicted = {verdict.value: counts.evidence_evicted.get(verdict, 0) for verdict in Verdict}
    yield gauge("store_writable", "Whether results can be written now", {(): health.ok})
    yield gauge("store_pending_writes", "Writes that are not on disk yet", {(): health.pending_writes})
    yield gauge(
        "results_last_sequence", "Sequence of the newest result", {(): measured.store.last_sequence()}
    )
    yield gauge("evidence_bytes", "Bytes of pictures kept", {(): counts.evidence_bytes})
    yield counter("evidence_evicted", "Pictures that went to make room", evicted, "verdict")


def reporting(measured: Measured) -> Iterator[Metric]:
    """What waits for the plant, and the way to it. Empty where MQTT is off."""
    state, reporter = measured.appliance.device(), measured.reporter
    oldest = {} if state.outbox_oldest_age_s is None else {(): state.outbox_oldest_age_s}
    sparkplug = measured.sparkplug
    connected = {} if reporter is None else {(): reporter.link_state is LinkState.CONNECTED}
    joined = {} if sparkplug is None else {(): sparkplug.link_state is LinkState.CONNECTED}
    events = {} if reporter is None else reporter.counters()
    events |= {} if sparkplug is None else sparkplug.counters()
    yield gauge("outbox_depth", "Results not yet acknowledged", dict(state.outbox_depth), "consumer")
    yield gauge("outbox_oldest_age_seconds", "Age of the oldest of them", oldest)
    yield gauge("mqtt_connected", "Whether there is a session with a broker", connected)
    yield gauge("sparkplug_connected", "Whether there is a session for Sparkplug", joined)
    yield counter("mqtt_events", "What happened with brokers", events, "event")


SUBJECTS: Mapping[str, Callable[[Measured], Iterable[Metric]]] = {
    subject.__name__: subject for subject in (device, stations, outputs, cameras, engine, store, reporting)
}


def _each(
    states: Mapping[tuple[str, str], OutputState], read: Callable[[OutputState], float]
) -> dict[tuple[str, str], float]:
    return {key: read(state) for key, state in states.items()}


def gauge(name: str, text: str, values: Mapping[Any, float], labels: Label = ()) -> Metric:
    """A family of what goes up and down; keys of `values` are the labels' values."""
    family = GaugeMetricFamily(f"lineside_{name}", text, labels=_names(labels))
    for key, value in values.items():
        family.add_metric(_names(key), float(value))
    return family


def counter(name: str, text: str, values: Mapping[Any, float], labels: Label = ()) -> Metric:
    """A family of what only grows; its samples' names end in `_total`."""
    family = CounterMetricFamily(f"lineside_{name}", text, labels=_names(labels))
    for key, value in values.items():
        family.add_metric(_names(key), float(value))
    return family


def _names(label: Label) -> list[str]:
    return [label] if isinstance(label, str) else list(label)
