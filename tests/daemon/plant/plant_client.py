"""A plant's MQTT client, which hears everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from plant_broker import wait_until


@dataclass(frozen=True)
class Heard:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retained: bool
    properties: Properties | None

    @property
    def user(self) -> dict[str, str]:
        return dict(getattr(self.properties, "UserProperty", []))


class Subscriber:
    """A plant's client: hears everything, and comes back by itself when the broker does."""

    def __init__(
        self, port: int, topic: str = "#", protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5
    ) -> None:
        self.heard: list[Heard] = []
        self.subscriptions = 0
        self._topic = topic
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, 0)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_until(lambda: self.subscriptions)

    def send(self, topic: str, payload: bytes, *, retain: bool = False, **properties: object) -> None:
        extra = None
        if properties:
            extra = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(extra, name, value)
        self._client.publish(topic, payload, 1, retain, extra).wait_for_publish(60)

    def on(self, topic: str) -> list[Heard]:
        return [each for each in list(self.heard) if each.topic == topic]

    def ending(self, end: str) -> list[Heard]:
        return [each for each in list(self.heard) if each.topic.endswith(end)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self.subscriptions += 1

    def _message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain, message.properties))


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(*args: object, **options: object) -> Subscriber:
        made.append(Subscriber(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()
