"""StationService: the stations as seen now, and triggers that do not wait for a verdict."""

from __future__ import annotations

import grpc

from lineside.daemon.ports import RunningAppliance, StationState
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.asking import checked_expected, checked_part_id, checked_request_id
from lineside.daemon.rpc.errors import not_found
from lineside.daemon.rpc.names import check_device, child_id, child_name
from lineside.daemon.rpc.paging import page_of
from lineside.daemon.values import TriggerKind
from lineside.v1 import stations_pb2, stations_pb2_grpc


def station_of(appliance: RunningAppliance, name: str, field: str) -> tuple[StationState, str]:
    """The station that a resource name means, and this device's id.

    Raises:
        RpcFault: NOT_FOUND, INVALID_ARGUMENT.
    """
    device = appliance.device().device
    station = child_id(name, "stations", device, field)
    states = appliance.stations()
    for state in states:
        if state.station == station:
            return state, device
    known = ", ".join(state.station for state in states)
    raise not_found("Station", name, f"no station '{station}': there are {known or 'none'}")


class StationService(stations_pb2_grpc.StationServiceServicer):
    """Answers from the running appliance; holds no state."""

    def __init__(self, appliance: RunningAppliance) -> None:
        self._appliance = appliance

    def ListStations(  # noqa: N802 - the contract's name
        self, request: stations_pb2.ListStationsRequest, context: grpc.ServicerContext
    ) -> stations_pb2.ListStationsResponse:
        """Every station, by id."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        page, token = page_of(
            self._appliance.stations(),
            lambda state: state.station,
            request.page_size,
            request.page_token,
            {"list": "stations"},
        )
        return stations_pb2.ListStationsResponse(
            stations=[convert.station(state, device) for state in page], next_page_token=token
        )

    def GetStation(  # noqa: N802 - the contract's name
        self, request: stations_pb2.GetStationRequest, context: grpc.ServicerContext
    ) -> stations_pb2.GetStationResponse:
        """One station."""
        state, device = station_of(self._appliance, request.name, "name")
        return stations_pb2.GetStationResponse(station=convert.station(state, device))

    def TriggerStation(  # noqa: N802 - the contract's name
        self, request: stations_pb2.TriggerStationRequest, context: grpc.ServicerContext
    ) -> stations_pb2.TriggerStationResponse:
        """Accepts a part on the newest live frame."""
        part_id = checked_part_id(request.part_id if request.HasField("part_id") else None)
        expected = checked_expected(request.expected)
        request_id = checked_request_id(request.request_id)
        state, device = station_of(self._appliance, request.name, "name")
        result_id = self._appliance.trigger(
            state.station, part_id=part_id, expected=expected, source=TriggerKind.GRPC, request_id=request_id
        )
        return stations_pb2.TriggerStationResponse(
            result_id=result_id, inspection=child_name(device, "inspections", result_id)
        )
