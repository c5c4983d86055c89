"""Where the server listens, to whom, what it says of its health, and how it stops."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from lineside.daemon.clock import SystemClock
from lineside.daemon.rpc.options import RpcOptions, TlsFiles, UnsafeAddress, check_address
from lineside.daemon.rpc.server import AddressTaken, RpcServer
from lineside.v1 import cameras_pb2, devices_pb2
from lineside.v1.cameras_pb2_grpc import CameraServiceStub
from lineside.v1.devices_pb2_grpc import DeviceServiceStub

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class TestAddress:
    @pytest.mark.parametrize(
        "address", ["0.0.0.0:50051", "[::]:50051", "192.168.1.7:50051", "box7:50051", "50051", ":50051"]
    )
    def test_plaintext_for_other_machines_is_refused_before_anything_listens(
        self, appliance, results, address
    ):
        with pytest.raises(UnsafeAddress, match="TLS"):
            RpcServer(appliance, results.reader, SystemClock(), RpcOptions(address=address), results.desks)

    @pytest.mark.parametrize(
        "address", ["127.0.0.1:0", "127.3.2.1:0", "[::1]:0", "localhost:0", "unix:/run/x"]
    )
    def test_loopback_needs_no_tls(self, address):
        check_address(RpcOptions(address=address))

    def test_tls_may_listen_anywhere(self):
        check_address(RpcOptions(address="0.0.0.0:0", tls=TlsFiles(Path("c"), Path("k"), Path("a"))))

    def test_a_taken_port_is_an_error_and_not_a_second_listener(self, appliance, results):
        first = RpcServer(
            appliance, results.reader, SystemClock(), RpcOptions(address="127.0.0.1:0"), results.desks
        )
        port = first.open()
        second = RpcServer(
            appliance, results.reader, SystemClock(), RpcOptions(address=f"127.0.0.1:{port}"), results.desks
        )
        try:
            with pytest.raises(AddressTaken, match=str(port)):
                second.open()
        finally:
            second.close()
            first.close()

    def test_a_unix_socket_serves(self, appliance, results, tmp_path):
        server = RpcServer(
            appliance, results.reader, SystemClock(), RpcOptions(address=f"unix:{tmp_path}/s"), results.desks
        )
        server.open()
        try:
            with grpc.insecure_channel(f"unix:{tmp_path}/s") as channel:
                assert (
                    DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest()).device.site
                    == "north"
                )
        finally:
            server.close()


class TestHealth:
    def check(self, channel: grpc.Channel, service: str) -> int:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status

    def test_judging_serves_while_the_engine_is_ready_and_reading_always(self, channel, appliance):
        assert self.check(channel, "") == SERVING
        assert self.check(channel, "lineside.v1.InspectionService") == SERVING
        appliance.engine_state = "RESTARTING"
        end = time.monotonic() + 60
        while self.check(channel, "lineside.v1.InspectionService") != NOT_SERVING:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert self.check(channel, "lineside.v1.CameraService") == SERVING
        assert self.check(channel, "") == SERVING

    def test_an_appliance_that_does_not_answer_is_not_healthy(self, channel, appliance):
        appliance.broken = True
        end = time.monotonic() + 60
        while self.check(channel, "") != NOT_SERVING:
            assert time.monotonic() < end
            time.sleep(0.02)

    def test_each_station_has_a_health_of_its_own(self, channel, appliance):
        assert self.check(channel, "stations/st1") == SERVING
        appliance.ready = False
        end = time.monotonic() + 60
        while self.check(channel, "stations/st1") != NOT_SERVING:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert self.check(channel, "lineside.v1.StationService") == SERVING

    def test_an_unknown_service_is_not_found(self, channel):
        with pytest.raises(grpc.RpcError) as caught:
            self.check(channel, "lineside.v1.CoffeeService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_who_watches_hears_of_the_stop_before_the_line_goes_dead(self, serve):
        server, channel = serve()
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        server.close()
        assert next(watch).status == NOT_SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_gives_the_whole_contract(channel, version):
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    symbol = "lineside.v1.InspectionService"
    answers = call(
        iter(
            [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol),
            ]
        ),
        timeout=30,
    )
    listed = {each.name for each in next(answers).list_services_response.service}
    assert {symbol, "lineside.v1.DeviceService", "grpc.health.v1.Health"} <= listed
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(each)
        for each in next(answers).file_descriptor_response.file_descriptor_proto
    ]
    assert "lineside/v1/results.proto" in {each.name for each in files}


def test_a_message_beyond_the_limit_is_refused(serve):
    _, channel = serve(max_message_bytes=100_000)
    request = cameras_pb2.PushFrameRequest(name="devices/-/cameras/push1", image=bytes(200_000))
    with pytest.raises(grpc.RpcError) as caught:
        CameraServiceStub(channel).PushFrame(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
