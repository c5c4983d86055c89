"""Finds devices on the plant's broker: whoever says there, retained, that it is online and where it listens.

Believed is only the address; who a device is, it says itself when it is called. Given a broker, the operator
trusts those who may publish on it to name addresses that the dashboard then calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.config import Address, RefusedConfiguration
from lineside.dashboard.ingest.roster import Roster

STATUS_TOPICS = "lineside/v1/+/+/+/+/status"
LARGEST_PAYLOAD = 16 * 1024
KEEPALIVE_S = 30

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Birth:
    """A device that said where it listens."""

    device: str
    address: Address


def read_birth(payload: bytes) -> Birth | None:
    """The birth in a status message; None for one that is none (a device gone, or one not to be called)."""
    if len(payload) > LARGEST_PAYLOAD:
        return None
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("state") != "online":
        return None
    device, where = told.get("device"), told.get("rpc_address")
    if not isinstance(device, str) or not isinstance(where, str) or not 1 <= len(device) <= 200:
        return None
    try:
        return Birth(device, Address.parse(where))
    except RefusedConfiguration:
        return None


class Births:
    """Listens on one broker in paho's own thread; connects again by itself."""

    def __init__(self, broker: Address, roster: Roster) -> None:
        self._broker, self._roster = broker, roster
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311, clean_session=True
        )
        self._client.on_connect = self._connected
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(1, 30)

    def start(self) -> None:
        """Starts listening; a broker that is not there yet is tried again."""
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Ends the connection and its thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            log.warning("the broker refuses", broker=str(self._broker), reason=str(reason))
            return
        client.subscribe(STATUS_TOPICS, qos=1)

    def _heard(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        birth = read_birth(bytes(message.payload))
        if birth is None:
            return
        try:
            self._roster.moved(birth.device, birth.address)
        except SQLAlchemyError as error:
            # A retained message is not sent again by itself: the next birth or connection brings it.
            log.error("birth not kept", device=birth.device, error=str(error)[:300])
