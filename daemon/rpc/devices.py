"""DeviceService: the device as seen now."""

from __future__ import annotations

from pathlib import Path

import grpc

from lineside.daemon.clock import Clock
from lineside.daemon.pki.files import read_certificates
from lineside.daemon.pki.identity import BadIdentity, Role, identity_of
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.callers import Callers
from lineside.daemon.rpc.desks import Desks
from lineside.daemon.rpc.names import check_device
from lineside.daemon.rpc.paging import decode_token, encode_token, number_of, page_size
from lineside.daemon.rpc.policy import allowed
from lineside.daemon.store.changes import ChangeRow
from lineside.v1 import devices_pb2, devices_pb2_grpc


class DeviceService(devices_pb2_grpc.DeviceServiceServicer):
    """Answers from the running appliance; holds no state."""

    def __init__(
        self,
        appliance: RunningAppliance,
        clock: Clock,
        callers: Callers,
        desks: Desks,
        certificate: Path | None,
    ) -> None:
        """`certificate`: the file it serves with; None without TLS."""
        self._appliance = appliance
        self._clock = clock
        self._callers = callers
        self._desk = desks.desk
        self._certificate = certificate

    def GetDevice(  # noqa: N802 - the contract's name
        self, request: devices_pb2.GetDeviceRequest, context: grpc.ServicerContext
    ) -> devices_pb2.GetDeviceResponse:
        """The device as seen now."""
        state = self._appliance.device()
        check_device(request.name, state.device, "name")
        message = convert.device(state, self._clock.now())
        if self._certificate is not None:
            message.certificate.CopyFrom(_certificate(self._certificate))
        return devices_pb2.GetDeviceResponse(device=message)

    def GetCaller(  # noqa: N802 - the contract's name
        self, request: devices_pb2.GetCallerRequest, context: grpc.ServicerContext
    ) -> devices_pb2.GetCallerResponse:
        """Who the caller is, and what it may call."""
        caller = self._callers.of(context)
        return devices_pb2.GetCallerResponse(
            identity=caller.identity, role=_role(caller.role), methods=allowed(caller.role)
        )

    def ListChanges(  # noqa: N802 - the contract's name
        self, request: devices_pb2.ListChangesRequest, context: grpc.ServicerContext
    ) -> devices_pb2.ListChangesResponse:
        """One page of who changed what, oldest first."""
        check_device(request.parent, self._appliance.device().device, "parent")
        arguments = {"list": "changes"}
        size = page_size(request.page_size)
        after = number_of(decode_token(request.page_token, arguments)) or 0
        found = self._desk.changes(after, size + 1)
        page = found[:size]
        more = encode_token(str(page[-1].sequence), arguments) if len(found) > size else ""
        return devices_pb2.ListChangesResponse(changes=[_change(row) for row in page], next_page_token=more)


def _role(role: Role) -> devices_pb2.Role.ValueType:
    return devices_pb2.Role.Value(f"ROLE_{role.value.upper()}")


def _change(row: ChangeRow) -> devices_pb2.Change:
    change = row.change
    return devices_pb2.Change(
        sequence=row.sequence,
        time=convert.timestamp(change.time),
        identity=change.identity,
        # The device itself has no role: what it had to do without being asked.
        role=_role(Role(change.role)) if change.role else devices_pb2.Role.ROLE_UNSPECIFIED,
        method=change.method,
        resource=change.resource,
        outcome=change.outcome,
        prev_hash=row.prev_hash,
        row_hash=row.row_hash,
    )


def _certificate(path: Path) -> devices_pb2.CertificateInfo:
    leaf = read_certificates(path)[0]
    try:
        identity = identity_of(leaf).uri
    except BadIdentity:
        identity = ""  # a certificate of the plant's own authority need not have one
    return devices_pb2.CertificateInfo(
        serial=f"{leaf.serial_number:x}",
        identity=identity,
        not_before=convert.timestamp(leaf.not_valid_before_utc),
        not_after=convert.timestamp(leaf.not_valid_after_utc),
    )
