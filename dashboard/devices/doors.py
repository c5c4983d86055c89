"""Channels to devices for pages: opened when somebody looks, shared by all, the longest unused closed.

Pages ask devices only for what the database does not hold: pictures, and results it has not got.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import grpc

from lineside.dashboard.config import Address, DeviceTls
from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.devices.evidence import EvidencePictures
from lineside.dashboard.devices.frames import Frames
from lineside.dashboard.devices.values import Result

MOST_OPEN = 64


class Door:
    """The way to one device and its pictures."""

    def __init__(self, address: Address, tls: DeviceTls | None = None) -> None:
        self.channel = Channel(address, tls)
        self.channel.open()
        self.frames = Frames(self.channel)
        self.evidence = EvidencePictures(self.channel)

    def result(self, result_id: str) -> Result | None:
        """A result as the device has it; None where it has none of that id.

        Raises:
            grpc.RpcError: the device does not answer.
        """
        try:
            return translate.result(self.channel.inspection(result_id))
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() in (
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.INVALID_ARGUMENT,
            ):
                return None
            raise


class Doors:
    """The doors of one process, made after its fork. Thread-safe."""

    def __init__(self, tls: DeviceTls | None = None) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._open: OrderedDict[Address, Door] = OrderedDict()

    def to(self, address: Address) -> Door:
        """The door to a device."""
        with self._lock:
            door = self._open.get(address)
            if door is None:
                door = self._open[address] = Door(address, self._tls)
            self._open.move_to_end(address)
            closing = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - MOST_OPEN)]
        for old in closing:
            old.channel.close()
        return door

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            closing, self._open = list(self._open.values()), OrderedDict()
        for door in closing:
            door.channel.close()
