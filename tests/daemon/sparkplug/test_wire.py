"""What an edge node writes to the wire, packet by packet, to a server that only notes and acknowledges."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lineside.v1 import sparkplug_pb2 as pb

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14
NDEATH = b"spBv1.0/north:filling/NDEATH/box7"


@dataclass(frozen=True)
class Packet:
    """An MQTT control packet: its type, its flags, what follows the length."""

    kind: int
    flags: int
    body: bytes


class Notary:
    """A server for one connection, of MQTT 5."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="notary", daemon=True)
        self._thread.start()

    def of(self, kind: int) -> list[Packet]:
        return [each for each in list(self.packets) if each.kind == kind]

    def close(self) -> None:
        self._listener.close()
        self._thread.join(60)

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client, client.makefile("rb") as stream:
            while head := stream.read(1):
                packet = Packet(head[0] >> 4, head[0] & 15, stream.read(_length(stream)))
                self.packets.append(packet)
                client.sendall(_answer(packet))
                if packet.kind == DISCONNECT:
                    return


def _length(stream) -> int:
    total = shift = 0
    while True:
        byte = stream.read(1)[0]
        total |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return total


def _answer(packet: Packet) -> bytes:
    if packet.kind == CONNECT:
        return b"\x20\x03\x00\x00\x00"
    if packet.kind == SUBSCRIBE:
        return b"\x90\x04" + packet.body[:2] + b"\x00\x01"
    if packet.kind == PUBLISH and packet.flags & 6:
        at = 2 + int.from_bytes(packet.body[:2], "big")
        return b"\x40\x02" + packet.body[at : at + 2]
    return b"\xd0\x00" if packet.kind == PINGREQ else b""


@pytest.fixture
def notary() -> Iterator[Notary]:
    server = Notary()
    yield server
    server.close()


def will_of(body: bytes) -> tuple[bytes, pb.SparkplugPayload]:
    """Topic and payload of the will in a CONNECT packet of MQTT 5, without user name and password."""
    at = 10
    at += 1 + body[at]  # properties
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # client id
    at += 1 + body[at]  # the will's properties
    length = int.from_bytes(body[at : at + 2], "big")
    topic = body[at + 2 : at + 2 + length]
    at += 2 + length
    length = int.from_bytes(body[at : at + 2], "big")
    return topic, pb.SparkplugPayload.FromString(body[at + 2 : at + 2 + length])


def test_connecting_starts_clean_keeps_no_session_and_leaves_a_will(notary, join, until):
    reporter = join(notary.port)
    until(lambda: notary.of(CONNECT))
    reporter.close()
    body = notary.of(CONNECT)[0].body
    assert body[:7] == b"\x00\x04MQTT\x05"
    flags = body[7]
    assert flags & 0b10  # clean start
    assert flags & 0b100  # a will
    assert (flags >> 3) & 3 == 1  # of QoS 1
    assert not flags & 0b100000  # not retained
    properties = body[11 : 11 + body[10]]
    assert properties[:1] in (b"", b"\x11")  # session expiry is the only property
    assert properties[1:] in (b"", b"\x00\x00\x00\x00")
    topic, payload = will_of(body)
    assert topic == NDEATH
    assert [(each.name, each.datatype, each.long_value) for each in payload.metrics] == [("bdSeq", 4, 0)]
    assert not payload.HasField("seq")


def test_commands_are_subscribed_to_before_anything_is_published_with_qos_0_and_not_retained(
    notary, join, line, until
):
    join(notary.port, host=None)
    until(lambda: len(notary.of(PUBLISH)) >= 3)
    line.judge(3)
    until(lambda: len(notary.of(PUBLISH)) >= 6)
    first = [each.kind for each in notary.packets]
    assert first[:4] == [CONNECT, SUBSCRIBE, SUBSCRIBE, PUBLISH]
    subscribed = b"".join(each.body for each in notary.of(SUBSCRIBE))
    assert b"spBv1.0/north:filling/NCMD/box7" in subscribed
    assert b"spBv1.0/north:filling/DCMD/box7/+" in subscribed
    assert {each.flags for each in notary.of(PUBLISH)} == {0}
    assert notary.of(PUBLISH)[0].body[2:].startswith(b"spBv1.0/north:filling/NBIRTH/box7")


def test_a_planned_stop_is_a_death_and_then_a_goodbye_with_will(notary, join, until):
    reporter = join(notary.port)
    until(lambda: len(notary.of(PUBLISH)) >= 3)
    reporter.close()
    until(lambda: notary.of(DISCONNECT))
    death, goodbye = notary.packets[-2:]
    assert death.body[2:].startswith(NDEATH)
    assert death.flags == 0b10  # QoS 1, so that its arrival is known; not retained
    assert goodbye.kind == DISCONNECT
    assert goodbye.body[0] == 0x04
