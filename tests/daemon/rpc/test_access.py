"""Nobody is let in who may not be: real servers, real certificates, every call of the contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from lineside.daemon.clock import SystemClock
from lineside.daemon.pki import files
from lineside.daemon.pki.authority import Authority
from lineside.daemon.pki.device import DeviceKeys, Enrolment
from lineside.daemon.pki.identity import Identity, Role
from lineside.daemon.rpc.access import AccessInterceptor
from lineside.daemon.rpc.callers import Callers
from lineside.daemon.rpc.credentials import CredentialsUnusable
from lineside.daemon.rpc.errors import FaultInterceptor
from lineside.daemon.rpc.options import RpcOptions, TlsFiles
from lineside.daemon.rpc.policy import RULES, allowed
from lineside.daemon.rpc.rates import Rates
from lineside.daemon.rpc.server import RpcServer
from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    recipes_pb2_grpc,
    reviews_pb2,
    stations_pb2,
)

CONTRACT = (
    cameras_pb2,
    devices_pb2,
    engines_pb2,
    inspections_pb2,
    jobs_pb2,
    recipes_pb2,
    reviews_pb2,
    stations_pb2,
)
PLAIN = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
ROLES = list(Role)


def services() -> list[ServiceDescriptor]:
    """Every service of the contract, and those served beside it, from their descriptors."""
    ours = [one for file in CONTRACT for one in file.DESCRIPTOR.services_by_name.values()]
    beside = [
        health_pb2.DESCRIPTOR.services_by_name["Health"],
        reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
        operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    ]
    return [*ours, *beside]


def methods() -> dict[str, MethodDescriptor]:
    found = {f"/{one.full_name}/{method.name}": method for one in services() for method in one.methods}
    v1 = {name.replace(".v1alpha.", ".v1."): method for name, method in found.items() if ".v1alpha." in name}
    return {**found, **v1}


def details_of(error: grpc.RpcError, kind: Any) -> Any:
    status = rpc_status.from_call(error)
    assert status is not None
    for detail in status.details:
        found = kind()
        if detail.Unpack(found):
            return found
    raise AssertionError(f"no {kind.__name__} in {status}")


def reason_of(error: grpc.RpcError) -> str:
    return str(details_of(error, error_details_pb2.ErrorInfo).reason)


class Fleet:
    """An authority, a device of it, and whoever it gives certificates to."""

    def __init__(self, folder: Path, name: str = "north") -> None:
        self.folder = folder
        self.authority = Authority.create(folder / "ca", name, datetime.now(UTC))
        self.keys = DeviceKeys(folder / "device", "box7")
        self.keys.ensure()
        self.certify()

    def certify(self) -> None:
        """A (new) certificate for the device."""
        self.keys.install(self._signed("device", "box7", self.keys), "", datetime.now(UTC))

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.keys.certificate, self.keys.key, self.keys.authority)

    def credentials(self, kind: str, name: str = "anna") -> grpc.ChannelCredentials:
        keys = DeviceKeys(self.folder / f"{kind}-{name}", name)
        keys.ensure()
        chain = self._signed(kind, name, keys).certificate.encode()
        return grpc.ssl_channel_credentials(self.root, keys.key.read_bytes(), chain)

    @property
    def root(self) -> bytes:
        return files.pem(self.authority.certificate)

    def _signed(self, kind: str, name: str, keys: DeviceKeys) -> Enrolment:
        request = files.request_in(keys.request_text())
        names = ["127.0.0.1", "box7"] if kind == "device" else []
        leaf = self.authority.sign(
            request, Identity(self.authority.fleet, kind, name), datetime.now(UTC), names=names
        )
        own = files.pem(self.authority.certificate).decode()
        return Enrolment(files.pem(leaf).decode() + own, own, self.authority.fleet)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path / "fleet")


@pytest.fixture
def secured(appliance, results, fleet: Fleet) -> Iterator[Callable[..., tuple[RpcServer, int]]]:
    """Serves with the fleet's mutual TLS."""
    opened: list[RpcServer] = []

    def start(**changes: Any) -> tuple[RpcServer, int]:
        options = replace(
            RpcOptions(address="127.0.0.1:0", tls=fleet.tls, rate_per_s=1e6, rate_burst=1e6), **changes
        )
        server = RpcServer(appliance, results.reader, SystemClock(), options, results.desks)
        port = server.open()
        opened.append(server)
        return server, port

    yield start
    for server in opened:
        server.close(grace_s=0.2)


def call(channel: grpc.Channel, path: str, method: MethodDescriptor, timeout: float = 30) -> grpc.StatusCode:
    """Calls with an empty request; gives the code."""
    request = message_factory.GetMessageClass(method.input_type)()
    codecs = {
        "request_serializer": type(request).SerializeToString,
        "response_deserializer": message_factory.GetMessageClass(method.output_type).FromString,
    }
    try:
        if method.client_streaming:
            answers = channel.stream_stream(path, **codecs)(iter([request]), timeout=timeout)
        elif method.server_streaming:
            answers = channel.unary_stream(path, **codecs)(request, timeout=timeout)
        else:
            channel.unary_unary(path, **codecs)(request, timeout=timeout)
            return grpc.StatusCode.OK
        next(answers, None)
        answers.cancel()
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def test_every_call_of_the_contract_has_a_rule_and_no_rule_is_for_nothing() -> None:
    assert set(RULES) == set(methods())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_call_what_its_rule_says_and_nothing_else(secured, fleet: Fleet, role: Role) -> None:
    _, port = secured()
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials(role.value), options=PLAIN) as channel:
        let_in = {
            path
            for path, method in methods().items()
            if call(channel, path, method) is not grpc.StatusCode.PERMISSION_DENIED
        }
    assert let_in == {path for path, rule in RULES.items() if role.may(rule.role)}
    assert sorted(let_in) == allowed(role)


def test_the_ladder_is_as_documented() -> None:
    """A change of who may do what is made twice: in the policy, and here."""
    least = {
        role: {path.split(".")[-1] for path, rule in RULES.items() if rule.role is role} for role in ROLES
    }
    assert least[Role.OPERATOR] == {
        "CameraService/PushFrame",
        "InspectionService/Inspect",
        "JobService/AbortJob",
        "JobService/CreateJob",
        "JobService/DeleteJob",
        "JobService/PauseJob",
        "JobService/ResumeJob",
        "JobService/StartJob",
        "JobService/StopJob",
        "JobService/UpdateJob",
        "RecipeService/SelectRecipe",
        "ReviewService/SubmitReview",
        "StationService/TriggerStation",
    }
    assert least[Role.ENGINEER] == {
        "EngineService/VerifyEngine",
        "RecipeService/ActivateRecipe",
        "RecipeService/CreateRecipe",
        "RecipeService/RollBackRecipe",
    }
    assert least[Role.ADMIN] == {
        "DeviceService/ListChanges",
        "EngineService/ActivateEngine",
        "EngineService/CreateEngineUpload",
        "EngineService/DeleteEngine",
        "EngineService/DeleteEngineUpload",
        "EngineService/GetEngineUpload",
        "EngineService/InstallEngine",
        "EngineService/RollBackEngine",
        "EngineService/WriteEngineUpload",
        "Operations/CancelOperation",
        "Operations/DeleteOperation",
    }


@pytest.mark.parametrize("kind", ["device", "service"])
def test_a_certificate_that_is_nobodys_lets_nobody_in(secured, fleet: Fleet, kind: str) -> None:
    _, port = secured()
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials(kind), options=PLAIN) as channel:
        for path, method in methods().items():
            assert call(channel, path, method) is grpc.StatusCode.PERMISSION_DENIED, path


def test_without_a_certificate_of_the_fleet_there_is_no_connection(secured, fleet: Fleet, tmp_path) -> None:
    _, port = secured()
    stranger = Fleet(tmp_path / "stranger")
    with_our_root = DeviceKeys(stranger.folder / "admin-eve", "eve")
    stranger.credentials("admin", "eve")
    chain = stranger._signed("admin", "eve", with_our_root).certificate.encode()
    for credentials in (
        grpc.ssl_channel_credentials(fleet.root),
        grpc.ssl_channel_credentials(fleet.root, with_our_root.key.read_bytes(), chain),
    ):
        with (
            grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=PLAIN) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            devices_pb2_grpc.DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest(), timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_plaintext_is_not_spoken_on_the_networks_port(secured) -> None:
    _, port = secured()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=PLAIN) as channel, pytest.raises(grpc.RpcError):
        devices_pb2_grpc.DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest(), timeout=30)


def test_a_local_socket_is_served_when_asked_for_and_with_its_own_role(secured, tmp_path) -> None:
    server, _ = secured(local_address=f"unix:{tmp_path}/local.sock", local_role=Role.VIEWER)
    assert server.local_port == 0
    with grpc.insecure_channel(f"unix:{tmp_path}/local.sock") as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        caller = stub.GetCaller(devices_pb2.GetCallerRequest(), timeout=30)
        assert (caller.identity, caller.role) == ("local", devices_pb2.ROLE_VIEWER)
        assert list(caller.methods) == allowed(Role.VIEWER)
        path = "/lineside.v1.RecipeService/SelectRecipe"
        assert call(channel, path, methods()[path]) is grpc.StatusCode.PERMISSION_DENIED


def test_a_caller_is_who_its_certificate_says(secured, fleet: Fleet) -> None:
    _, port = secured()
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("engineer"), options=PLAIN) as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        caller = stub.GetCaller(devices_pb2.GetCallerRequest(), timeout=30)
        device = stub.GetDevice(devices_pb2.GetDeviceRequest(), timeout=30).device
    assert caller.identity == "spiffe://north/lineside/engineer/anna"
    assert device.certificate.identity == "spiffe://north/lineside/device/box7"


def test_who_changed_what_is_noted_and_who_was_refused(secured, fleet: Fleet) -> None:
    _, port = secured()
    select = recipes_pb2.SelectRecipeRequest(
        station="devices/-/stations/st1", recipe="devices/-/recipes/label"
    )
    for kind in ("viewer", "operator"):
        with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials(kind), options=PLAIN) as channel:
            stub = recipes_pb2_grpc.RecipeServiceStub(channel)
            if kind == "operator":
                stub.SelectRecipe(select, timeout=30)
                with pytest.raises(grpc.RpcError):
                    stub.SelectRecipe(recipes_pb2.SelectRecipeRequest(station="x"), timeout=30)
            else:
                with pytest.raises(grpc.RpcError):
                    stub.SelectRecipe(select, timeout=30)
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("admin"), options=PLAIN) as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        end = time.monotonic() + 60
        while len(changes := stub.ListChanges(devices_pb2.ListChangesRequest(), timeout=30).changes) < 3:
            assert time.monotonic() < end  # noted beside the call, not before its answer
            time.sleep(0.02)
    noted = [
        (one.identity.rpartition("/")[0].rpartition("/")[2], one.resource, one.outcome) for one in changes
    ]
    assert noted == [
        ("viewer", "devices/-/stations/st1", "PERMISSION_DENIED"),
        ("operator", "devices/-/stations/st1", "OK"),
        ("operator", "x", "INVALID_ARGUMENT"),
    ]
    assert {one.method for one in changes} == {"/lineside.v1.RecipeService/SelectRecipe"}


def test_a_method_without_a_rule_is_closed_to_everybody(results) -> None:
    pool = ThreadPoolExecutor(2)
    server = grpc.server(
        pool,
        interceptors=[
            AccessInterceptor(Callers(Role.ADMIN), Rates(1e6, 1e6, lambda: 0.0), lambda *_: None, {}),
            FaultInterceptor(),
        ],
    )
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"let in")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("lineside.v1.NewService", {"New": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with (
            grpc.insecure_channel(f"127.0.0.1:{port}", options=PLAIN) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            channel.unary_unary("/lineside.v1.NewService/New")(b"", timeout=30)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    finally:
        server.stop(0).wait()
        pool.shutdown()


def test_a_new_certificate_is_served_without_a_restart(secured, fleet: Fleet) -> None:
    _, port = secured()

    def serial() -> str:
        with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("viewer"), options=PLAIN) as channel:
            call = devices_pb2_grpc.DeviceServiceStub(channel).GetDevice.with_call(
                devices_pb2.GetDeviceRequest(), timeout=30
            )[0]
            return str(call.device.certificate.serial)

    first = serial()
    fleet.certify()
    second = serial()
    assert first != second
    good = fleet.keys.certificate.read_bytes()
    fleet.keys.certificate.write_bytes(b"half of a fi")
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("viewer"), options=PLAIN) as channel:
        path = "/lineside.v1.StationService/ListStations"
        assert call(channel, path, methods()[path]) is grpc.StatusCode.OK
    fleet.keys.certificate.write_bytes(good)
    assert serial() == second


def test_an_authority_that_is_replaced_shuts_its_clients_out(secured, fleet: Fleet, tmp_path) -> None:
    _, port = secured()
    old = fleet.credentials("admin")
    other = Fleet(tmp_path / "other")
    fleet.keys.authority.write_bytes(other.root)
    with (
        grpc.secure_channel(f"127.0.0.1:{port}", old, options=PLAIN) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        devices_pb2_grpc.DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("missing", ["certificate", "key", "authority"])
def test_files_that_are_not_there_say_what_to_do(secured, fleet: Fleet, missing: str) -> None:
    getattr(fleet.keys, missing).unlink()
    with pytest.raises(CredentialsUnusable, match="lineside enroll"):
        secured()


def test_a_key_that_does_not_fit_is_not_served_with(secured, fleet: Fleet, tmp_path) -> None:
    other = DeviceKeys(tmp_path / "other-key", "box7")
    other.ensure()
    with pytest.raises(CredentialsUnusable, match="does not fit"):
        secured(tls=replace(fleet.tls, key=other.key))


def test_who_calls_too_often_is_told_when_to_come_back(secured, fleet: Fleet) -> None:
    _, port = secured(rate_per_s=1.0, rate_burst=3.0)
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("viewer"), options=PLAIN) as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)

        def hammer() -> None:
            for _ in range(50):
                stub.GetDevice(devices_pb2.GetDeviceRequest(), timeout=30)

        with pytest.raises(grpc.RpcError) as refused:
            hammer()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "RATE"
        delay = details_of(refused.value, error_details_pb2.RetryInfo).retry_delay
        assert 0 < delay.ToMilliseconds() <= 1001
    # Another caller has a rate of its own.
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("admin"), options=PLAIN) as channel:
        devices_pb2_grpc.DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest(), timeout=30)


def test_a_request_larger_than_its_call_needs_is_refused(secured, fleet: Fleet) -> None:
    _, port = secured()
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("operator"), options=PLAIN) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            cameras_pb2_grpc.CameraServiceStub(channel).GetFrame(
                cameras_pb2.GetFrameRequest(name="x" * 70_000), timeout=30
            )
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "TOO_LARGE"


def test_malformed_requests_are_told_and_use_nothing_up(secured, fleet: Fleet) -> None:
    _, port = secured()
    with grpc.secure_channel(f"127.0.0.1:{port}", fleet.credentials("viewer"), options=PLAIN) as channel:
        for path in (
            "/lineside.v1.DeviceService/GetDevice",
            "/lineside.v1.InspectionService/WatchInspections",
        ):
            for _ in range(150):  # more than streams are allowed on one connection
                with pytest.raises(grpc.RpcError) as refused:
                    next(channel.unary_stream(path)(b"\0", timeout=30))
                assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert reason_of(refused.value) == "MALFORMED"


def test_the_rates_are_buckets_that_fill_again() -> None:
    now = 0.0
    rates = Rates(2.0, 4.0, lambda: now)
    assert [rates.take("anna") for _ in range(4)] == [0.0] * 4
    assert rates.take("anna") == pytest.approx(0.5)
    assert rates.take("bob") == 0.0
    now = 1.0
    assert [rates.take("anna") > 0 for _ in range(3)] == [False, False, True]
    now = 1000.0
    assert [rates.take("anna") > 0 for _ in range(5)] == [False] * 4 + [True]


def test_the_descriptors_name_what_the_pool_has() -> None:
    """A service that is added is found by the tests above: none hides in a file they do not read."""
    known = {one.full_name for one in services()}
    for file in CONTRACT:
        pool = descriptor_pool.Default().FindFileByName(file.DESCRIPTOR.name)
        assert {one.full_name for one in pool.services_by_name.values()} <= known
    listed = {path.name for path in (Path(__file__).parents[3] / "protos/lineside/v1").glob("*.proto")}
    # Messages only: results in all services, the Sparkplug dialect in none.
    without_services = {"results.proto", "sparkplug.proto"}
    assert listed - without_services == {Path(file.DESCRIPTOR.name).name for file in CONTRACT}
