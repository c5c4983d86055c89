"""Can the brokers be reached, and do they let this device in?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.plant import mqtt_options
from lineside.daemon.reporting.mqtt import Message, NotConnected, Session
from lineside.daemon.reporting.options import Broker, MqttOptions, Protocol
from lineside.daemon.reporting.topics import Topics
from lineside.daemon.settings import Settings


class BrokerCheck:
    """Connects as the daemon does, under a name of its own, and says goodbye at once. Publishes nothing."""

    name = "broker"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding a broker."""
        settings = subject.known
        if settings.mqtt is None:
            yield Finding(self.name, Level.SKIPPED, "MQTT is off in the settings")
            return
        options = mqtt_options(settings.mqtt, settings.device.id, "")
        # Another client id: a broker ends the session that has the same one.
        client_id = f"{options.client_id}-doctor"
        options = dataclasses.replace(
            options, client_id=client_id, connect_timeout_s=min(5.0, subject.patience_s)
        )
        for broker in options.brokers:
            yield self._asked(broker, options, _unspoken_will(settings))

    def _asked(self, broker: Broker, options: MqttOptions, will: Message) -> Finding:
        wanted = [broker.protocol] if broker.protocol is not None else [Protocol.V5, Protocol.V311]
        trouble = ""
        for protocol in wanted:
            session = Session(broker, protocol, options, lambda session, received: None)
            try:
                session.open(will)
            except NotConnected as error:
                trouble = str(error)
                if not (error.old_protocol or error.silent):
                    break
                continue
            session.close()
            return Finding(self.name, Level.OK, f"{broker} answers, MQTT {protocol.value}")
        step = (
            "look at its address, at the network, and at this device's account there; results wait meanwhile"
        )
        return Finding(self.name, Level.FAILED, trouble, step)


def _unspoken_will(settings: Settings) -> Message:
    device = settings.device
    return Message(Topics(device.site, device.area, device.line, device.id).alert, b"")
