"""What reporting is told: brokers in order, credentials by file, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from lineside.daemon.reporting.backoff import Backoff


class Protocol(Enum):
    """Which MQTT is spoken."""

    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """PEM files. `ca` None: the system's authorities. `certificate` and `key`: who this device is."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """One broker. The password is read from its file at every connecting, so that it can be changed.

    `protocol` None: MQTT 5, and 3.1.1 where the broker refuses it or does not answer.
    """

    host: str
    port: int = 1883
    username: str | None = None
    password_file: Path | None = None
    tls: BrokerTls | None = None
    protocol: Protocol | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Options of reporting over MQTT.

    `brokers` are tried in this order, each time from the first. `in_flight`: most unacknowledged
    results at a time; the broker's Receive Maximum may lower it. `session_expiry_s` above 0 keeps
    the broker's session, and with it commands given meanwhile: 0, because a late trigger inspects the
    wrong part. `ack_timeout_s`: a broker that leaves a result unacknowledged for so long is left.
    `will_at_goodbye`: a planned stop, too, has the broker speak the will (MQTT 5), as Sparkplug demands.
    `replay_per_s`: results a second of a replay that was asked for.
    `rpc_address`: told in the status, so that a dashboard finds the device.
    """

    brokers: tuple[Broker, ...]
    client_id: str
    in_flight: int = 20
    keepalive_s: int = 30
    session_expiry_s: int = 0
    will_delay_s: int = 0
    will_at_goodbye: bool = False
    connect_timeout_s: float = 5.0
    ack_timeout_s: float = 30.0
    metrics_every_s: float = 10.0
    replay_per_s: float = 50.0
    backoff: Backoff = field(default_factory=Backoff)
    rpc_address: str | None = None

    def __post_init__(self) -> None:
        if not self.brokers:
            raise ValueError("no broker is named: give at least one, or leave MQTT out")
        if self.in_flight < 1:
            raise ValueError("in_flight must be at least 1")
