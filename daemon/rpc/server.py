"""The gRPC server: composition and lifetime (`open`, `close`). Knows what each service needs, no more."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import structlog
from google.longrunning import operations_pb2_grpc
from grpc_health.v1 import health_pb2_grpc

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc.access import AccessInterceptor
from lineside.daemon.rpc.callers import Caller, Callers
from lineside.daemon.rpc.cameras import CameraService
from lineside.daemon.rpc.credentials import ServerCredentials
from lineside.daemon.rpc.desks import Desks
from lineside.daemon.rpc.devices import DeviceService
from lineside.daemon.rpc.engines import EngineService
from lineside.daemon.rpc.errors import FaultInterceptor
from lineside.daemon.rpc.health import JUDGING, READING, HealthFollower
from lineside.daemon.rpc.inspections import Bounds, InspectionService
from lineside.daemon.rpc.jobs import JobService
from lineside.daemon.rpc.operations import Operations
from lineside.daemon.rpc.options import RpcOptions, check_address
from lineside.daemon.rpc.ports import ReadsResults
from lineside.daemon.rpc.rates import Rates
from lineside.daemon.rpc.recipes import RecipeService
from lineside.daemon.rpc.reflection import add_reflection
from lineside.daemon.rpc.reviews import ReviewService
from lineside.daemon.rpc.slots import Slots
from lineside.daemon.rpc.stations import StationService
from lineside.daemon.store.changes import Change
from lineside.v1 import (
    cameras_pb2_grpc,
    devices_pb2_grpc,
    engines_pb2_grpc,
    inspections_pb2_grpc,
    jobs_pb2_grpc,
    recipes_pb2_grpc,
    reviews_pb2_grpc,
    stations_pb2_grpc,
)

HEALTH = "grpc.health.v1.Health"
OPERATIONS = "google.longrunning.Operations"
_log = structlog.get_logger(__name__)


class AddressTaken(OSError):
    """The address cannot be listened on: another process has it, or it is not of this machine."""


class RpcServer:
    """Serves `lineside.v1`. Threads: gRPC's own, a bounded pool named `rpc`, and `rpc-health`."""

    def __init__(
        self,
        appliance: RunningAppliance,
        results: ReadsResults,
        clock: Clock,
        options: RpcOptions,
        desks: Desks,
    ) -> None:
        """Raises UnsafeAddress: plaintext would be offered to other machines."""
        check_address(options)
        self._callers = Callers(options.local_role)
        self._desks = desks
        self._appliance = appliance
        self._results = results
        self._clock = clock
        self._options = options
        self._stop = threading.Event()
        self._health = HealthFollower(appliance)
        self._pool: ThreadPoolExecutor | None = None
        self._server: grpc.Server | None = None
        self._operations: Operations | None = None
        self.port = 0
        """The port it serves on since `open`; 0 for a Unix socket."""
        self.local_port: int | None = None
        """The port of `local_address` while it serves there; 0 for a Unix socket."""

    def open(self) -> int:
        """Listens and serves; gives the port (0 for a Unix socket).

        Raises:
            AddressTaken: the address cannot be listened on.
            CredentialsUnusable: the TLS files do not make credentials.
        """
        options = self._options
        self._pool = ThreadPoolExecutor(max_workers=options.threads, thread_name_prefix="rpc")
        server = grpc.server(
            self._pool,
            interceptors=[self._door(), FaultInterceptor()],
            options=_channel_options(options),
            # A call beyond the pool would wait unseen; it is refused with RESOURCE_EXHAUSTED instead.
            maximum_concurrent_rpcs=options.threads,
        )
        self._add_services(server)
        port = self._listen(server)
        server.start()
        self._server = server
        self.port = port
        self._health.open()
        _log.info("rpc_serving", address=options.address, port=port, tls=options.tls is not None)
        return port

    def close(self, grace_s: float = 5.0) -> None:
        """Says NOT_SERVING, ends watches and waits cleanly, and after `grace_s` cuts what is left."""
        self._health.close()
        self._stop.set()
        if self._server is not None:
            self._server.stop(grace_s).wait()
        if self._operations is not None:
            self._operations.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _add_services(self, server: grpc.Server) -> None:
        options = self._options
        bounds = Bounds(
            waiting=Slots(options.max_inspects, "waiting callers"),
            watching=Slots(options.max_watchers, "watchers"),
            sending=Slots(options.max_evidence_streams, "evidence streams"),
            heartbeat_s=options.heartbeat_s,
        )
        appliance = self._appliance
        desks, callers, clock = self._desks, self._callers, self._clock
        certificate = options.tls.certificate if options.tls is not None else None
        devices_pb2_grpc.add_DeviceServiceServicer_to_server(
            DeviceService(appliance, clock, callers, desks, certificate), server
        )
        cameras_pb2_grpc.add_CameraServiceServicer_to_server(CameraService(appliance, self._clock), server)
        stations_pb2_grpc.add_StationServiceServicer_to_server(StationService(appliance), server)
        recipes_pb2_grpc.add_RecipeServiceServicer_to_server(RecipeService(appliance, desks), server)
        inspections_pb2_grpc.add_InspectionServiceServicer_to_server(
            InspectionService(appliance, self._results, self._clock, bounds, self._stop), server
        )
        jobs_pb2_grpc.add_JobServiceServicer_to_server(JobService(appliance, desks, clock), server)
        reviews_pb2_grpc.add_ReviewServiceServicer_to_server(
            ReviewService(appliance, self._results, desks, callers, clock), server
        )
        operations = self._operations = Operations(appliance.device().device, clock)
        engines_pb2_grpc.add_EngineServiceServicer_to_server(
            EngineService(appliance, desks.engines, desks.switch, operations, clock), server
        )
        operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)  # type: ignore[no-untyped-call]
        add_reflection(server, (*READING, *JUDGING, HEALTH, OPERATIONS))

    def _door(self) -> AccessInterceptor:
        options = self._options
        rates = Rates(options.rate_per_s, options.rate_burst, lambda: self._clock.monotonic_ns() / 1e9)
        return AccessInterceptor(self._callers, rates, self._noted)

    def _noted(self, caller: Caller, method: str, resource: str, outcome: str) -> None:
        change = Change(self._clock.now(), caller.identity, caller.role.value, method, resource, outcome)
        self._desks.desk.note(change)

    def _listen(self, server: grpc.Server) -> int:
        options = self._options
        credentials = ServerCredentials(options.tls).open() if options.tls is not None else None
        port = _bind(server, options.address, credentials)
        if options.local_address is not None:
            self.local_port = _bind(server, options.local_address, None)
        return port


def _bind(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise AddressTaken(f"cannot listen on {address}: is another process there? ({error})") from error
    return 0 if address.startswith("unix") else port


def _channel_options(options: RpcOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),  # finds clients whose cable was pulled, and frees their slots
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),  # two daemons on one port are a mistake, not a pool
        ("grpc.max_concurrent_streams", 100),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_age_ms", round(options.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", 30_000),
    ]
