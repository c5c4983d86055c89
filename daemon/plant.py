"""The ways out to the plant, made from the settings: reporters over MQTT, and who tells them of alarms."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, replace

from lineside.daemon.clock import Clock
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.reporting.options import Broker, BrokerTls, MqttOptions, Protocol
from lineside.daemon.reporting.reporter import MqttReporter
from lineside.daemon.reporting.settings import MqttSettings
from lineside.daemon.reporting.topics import Topics
from lineside.daemon.settings import DeviceSettings, Settings
from lineside.daemon.sparkplug.names import Names
from lineside.daemon.sparkplug.options import SparkplugOptions
from lineside.daemon.sparkplug.reporter import SparkplugReporter
from lineside.daemon.store.errors import Alarm
from lineside.daemon.store.store import Store

MQTT_CONSUMER = "mqtt"
SPARKPLUG_CONSUMER = "sparkplug"
PROTOCOLS = {"auto": None, "5": Protocol.V5, "3.1.1": Protocol.V311}


class Alarms:
    """Passes alarms on to the plant once there is a way out; until then they are in the log."""

    def __init__(self) -> None:
        self._reporters: tuple[MqttReporter | SparkplugReporter, ...] = ()

    def tell(self, reporters: Reporters) -> None:
        """From now on alarms go out here too."""
        self._reporters = tuple(each for each in (reporters.json, reporters.sparkplug) if each is not None)

    def hear(self, alarm: Alarm) -> None:
        """Called by the store in any thread."""
        self.told(str(alarm.code), alarm.message, alarm.result_id)

    def told(self, code: str, message: str, result_id: str | None = None) -> None:
        """Called by whoever has something to say, in any thread."""
        for reporter in self._reporters:
            reporter.alert(code, message, result_id)


@dataclass(frozen=True, slots=True)
class Reporters:
    """What speaks to the plant's brokers: the JSON dialect, Sparkplug, both or neither."""

    json: MqttReporter | None = None
    sparkplug: SparkplugReporter | None = None

    def open(self, stack: ExitStack) -> None:
        """Starts them; `stack` closes them."""
        for reporter in (self.json, self.sparkplug):
            if reporter is not None:
                reporter.open()
                stack.callback(reporter.close)


def consumers(settings: MqttSettings | None) -> tuple[str, ...]:
    """Whose outbox is kept."""
    if settings is None:
        return ()
    plain = (MQTT_CONSUMER,) if settings.json_dialect else ()
    return plain if settings.sparkplug is None else (*plain, SPARKPLUG_CONSUMER)


def reporters(
    settings: Settings, appliance: RunningAppliance, store: Store, clock: Clock, rpc_port: int
) -> Reporters:
    """What the settings ask for, not yet started."""
    mqtt, device = settings.mqtt, settings.device
    if mqtt is None:
        return Reporters()
    host = settings.grpc.listen.rpartition(":")[0]
    options = mqtt_options(mqtt, device.id, f"{host}:{rpc_port}")
    topics = Topics(device.site, device.area, device.line, device.id)
    plain = sparkplug = None
    if mqtt.json_dialect:
        plain = MqttReporter(appliance, store, topics, clock, options, random.random)
    if mqtt.sparkplug is not None:
        sparkplug = SparkplugReporter(
            appliance,
            store,
            clock,
            # The session must end with the connection, and a planned stop, too, has the will spoken.
            replace(options, client_id=f"{options.client_id}-sparkplug", will_at_goodbye=True),
            sparkplug_options(mqtt, device),
            random.random,
        )
    return Reporters(plain, sparkplug)


def sparkplug_options(settings: MqttSettings, device: DeviceSettings) -> SparkplugOptions:
    """What Sparkplug is told, from the settings file. Only where it has the section."""
    told = settings.sparkplug
    if told is None:
        raise ValueError("the settings have no mqtt.sparkplug")
    names = Names(
        told.group or f"{device.site}:{device.area}", told.edge_node or device.id, told.primary_host
    )
    # A broken connection shows within two keepalive intervals.
    return SparkplugOptions(names, told.history_per_s, settle_s=2.0 * settings.keepalive + 5.0)


def mqtt_options(settings: MqttSettings, device: str, rpc_address: str) -> MqttOptions:
    """What reporting is told, from the settings file."""
    tls = None
    if settings.tls is not None:
        tls = BrokerTls(settings.tls.ca_file, settings.tls.cert_file, settings.tls.key_file)
    protocol = PROTOCOLS[settings.protocol]
    brokers = tuple(
        Broker(broker.host, broker.port, settings.username, settings.password_file, tls, protocol)
        for broker in settings.brokers
    )
    return MqttOptions(
        brokers=brokers,
        client_id=settings.client_id or f"lineside-{device}",
        in_flight=settings.receive_maximum,
        keepalive_s=settings.keepalive,
        rpc_address=rpc_address,
    )
