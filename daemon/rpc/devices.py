"""DeviceService: the device as seen now."""

from __future__ import annotations

import grpc

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.names import check_device
from lineside.v1 import devices_pb2, devices_pb2_grpc


class DeviceService(devices_pb2_grpc.DeviceServiceServicer):
    """Answers from the running appliance; holds no state."""

    def __init__(self, appliance: RunningAppliance, clock: Clock) -> None:
        self._appliance = appliance
        self._clock = clock

    def GetDevice(  # noqa: N802 - the contract's name
        self, request: devices_pb2.GetDeviceRequest, context: grpc.ServicerContext
    ) -> devices_pb2.GetDeviceResponse:
        """The device as seen now."""
        state = self._appliance.device()
        check_device(request.name, state.device, "name")
        return devices_pb2.GetDeviceResponse(device=convert.device(state, self._clock.now()))
