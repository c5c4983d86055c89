"""Standard gRPC health, kept up to date by one thread that looks at the appliance.

Services that judge (InspectionService, StationService) serve while the engine is READY; all others,
and the server as a whole, while the appliance answers at all; `stations/{station}` while that one is ready.
"""

from __future__ import annotations

import threading

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import OVERALL_HEALTH, HealthServicer

from lineside.daemon.ports import RunningAppliance

READING = tuple(
    f"lineside.v1.{name}"
    for name in (
        "DeviceService",
        "CameraService",
        "RecipeService",
        "JobService",
        "ReviewService",
        "EngineService",
    )
)
JUDGING = ("lineside.v1.InspectionService", "lineside.v1.StationService")
LOOK_EVERY_S = 1.0
_log = structlog.get_logger(__name__)


class HealthFollower:
    """Owns the thread `rpc-health`: `open` starts it, `close` reports NOT_SERVING for good and ends it."""

    def __init__(self, appliance: RunningAppliance) -> None:
        self._appliance = appliance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rpc-health", daemon=True)
        self._stations: tuple[str, ...] = ()
        self.servicer = HealthServicer()

    def open(self) -> None:
        """Takes a first look, then follows."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Says NOT_SERVING to everyone who checks or watches, and stops looking."""
        self.servicer.enter_graceful_shutdown()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Sets every service's status from the appliance as it is now."""
        try:
            ready = self._appliance.device().engine_state == "READY"
            stations = {state.station: state.ready for state in self._appliance.stations()}
            answers = True
        except Exception as error:  # noqa: BLE001 - whatever the appliance raises means that it is not well
            _log.warning("health_unknown", exc_info=error)
            ready = answers = False
            stations = dict.fromkeys(self._stations, False)
        self._set((OVERALL_HEALTH, *READING), answers)
        self._set(JUDGING, ready)
        self._stations = tuple(stations)
        for station, serving in stations.items():
            self._set((f"stations/{station}",), serving)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self.look()

    def _set(self, services: tuple[str, ...], serving: bool) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in services:
            self.servicer.set(service, status)
