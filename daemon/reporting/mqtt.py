"""One connection to one broker: the only place that knows paho.

A session lives from CONNACK to its end and is never revived; what it had not acknowledged is
forgotten with it, because the outbox has it. It knows nothing of results, topics or commands.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.daemon.reporting.options import Broker, BrokerTls, MqttOptions, Protocol

JSON_TYPE = "application/json"
REFUSED = 0x80  # reason codes from here on are refusals
QOS = 1  # as a rule: what is unacknowledged can be counted, and the broker's window kept
_WITH_WILL = 0x04  # the reason code of a goodbye that has the broker speak the will
_UNSUPPORTED_VERSION = 0x84
_PAHO = {Protocol.V5: MQTTProtocolVersion.MQTTv5, Protocol.V311: MQTTProtocolVersion.MQTTv311}
_log = structlog.get_logger(__name__)


class NotConnected(Exception):
    """No session came about; the message says why.

    `old_protocol`: the broker said that it does not speak this protocol. `silent`: it took the
    connection and said nothing, as some old brokers do when they are spoken to in MQTT 5.
    """

    def __init__(self, message: str, *, old_protocol: bool = False, silent: bool = False) -> None:
        super().__init__(message)
        self.old_protocol = old_protocol
        self.silent = silent


class SessionLost(Exception):
    """The session ended; what was not acknowledged must be sent again in the next one."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. Properties go out with MQTT 5 only.

    `expiry_s`: seconds after which the broker may drop it: never for results. `qos` 0 is for protocols
    that prescribe it: nobody says whether it arrived. `content_type` None: binary, of a kind its topic tells.
    """

    topic: str
    payload: bytes
    retain: bool = False
    user: Mapping[str, str] = field(default_factory=dict)
    expiry_s: int | None = None
    correlation: bytes | None = None
    qos: int = QOS
    content_type: str | None = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Received:
    """What came in. `response_topic` and `correlation` are MQTT 5's, None without."""

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """The broker's word on a published message."""

    mid: int
    reason: int

    @property
    def refused(self) -> bool:
        """Whether the broker did not take the message."""
        return self.reason >= REFUSED


class Receipt:
    """A message on its way: `mid` names it in the acknowledgements."""

    def __init__(self, info: paho.MQTTMessageInfo) -> None:
        self._info = info
        self.mid = info.mid

    def wait(self, timeout_s: float) -> bool:
        """Whether it was acknowledged within `timeout_s`."""
        try:
            self._info.wait_for_publish(timeout_s)
            return self._info.is_published()
        except (RuntimeError, ValueError):
            return False


class _Client(paho.Client):
    """paho's client, whose thread never ends unheard."""

    when_over: Callable[[str], None]

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        why = "the connection ended"
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 - the thread's edge: a broker's bytes must not end it unheard
            _log.warning("mqtt_session_failed", exc_info=error)
            why = f"the session failed: {error!r}"
            self._sock_close()
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        finally:
            self.when_over(why)


class Session:
    """A connection to a broker. Thread-safe. paho's own thread (`paho-mqtt-client-…`) serves it.

    `acks`: what the broker acknowledged, in order; the drain is its one reader.
    `in_flight_limit`: the smaller of our limit and the broker's Receive Maximum. It holds for all
    publishers together, for QoS 1. `connect_sent`: whether the broker was sent a CONNECT packet at all.
    """

    def __init__(
        self,
        broker: Broker,
        protocol: Protocol,
        options: MqttOptions,
        on_message: Callable[[Session, Received], None],
    ) -> None:
        self.broker = broker
        self.protocol = protocol
        self.in_flight_limit = options.in_flight
        self.acks: SimpleQueue[Ack] = SimpleQueue()
        self.ended = threading.Event()
        self.why_ended = ""
        self.connect_sent = False
        self._options = options
        self._on_message = on_message
        self._word = threading.Event()  # the broker spoke, or the connection ended
        self._answer: ReasonCode | None = None
        self._window = threading.Semaphore(0)  # opens with the broker's word
        self._unacknowledged: set[int] = set()  # mids of QoS 0, which paho reports as published as well
        self._unacknowledged_lock = threading.Lock()
        self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=_PAHO[protocol],
            clean_session=None if protocol is Protocol.V5 else options.session_expiry_s == 0,
            reconnect_on_failure=False,  # reconnecting is ours: another broker, another protocol
        )

    def open(self, will: Message) -> None:
        """Connects and waits for the broker's word.

        Raises:
            NotConnected: no network, no answer, a refusal, or a credential file that cannot be read.
        """
        client = self._client
        client.connect_timeout = self._options.connect_timeout_s
        client.max_inflight_messages_set(0)  # the window is ours: paho's cannot follow the broker's word
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_message = self._received
        client.when_over = self._over
        client.will_set(will.topic, will.payload, will.qos, will.retain, self._will_properties(will))
        try:
            self._identify()
            client.connect(self.broker.host, self.broker.port, self._options.keepalive_s, **self._start())
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise NotConnected(f"{self.broker}: {error}") from error
        self.connect_sent = True
        client.loop_start()
        heard = self._word.wait(self._options.connect_timeout_s)
        if self._answer is not None and not self._answer.is_failure:
            return
        self.drop("not accepted")
        if not heard:
            message = f"{self.broker}: no answer within {self._options.connect_timeout_s:g} s"
            raise NotConnected(message, silent=True)
        if self._answer is None:
            raise NotConnected(f"{self.broker}: closed the connection without an answer", silent=True)
        old = self._answer.value == _UNSUPPORTED_VERSION
        raise NotConnected(f"{self.broker}: refused: {self._answer}", old_protocol=old)

    def publish(self, message: Message) -> Receipt:
        """Sends a message, as soon as the window has room for it; one of QoS 0 needs none.

        Raises:
            SessionLost: the session is over, or the broker acknowledges nothing.
        """
        if message.qos and not self._window.acquire(timeout=self._options.ack_timeout_s):
            raise SessionLost(f"the broker acknowledges nothing for {self._options.ack_timeout_s:g} s")
        return self._send(message)

    def try_publish(self, message: Message) -> Receipt | None:
        """Sends a message; None when the window has no room now. Raises SessionLost."""
        return self._send(message) if not message.qos or self._window.acquire(blocking=False) else None

    def subscribe(self, topic_filter: str) -> None:
        """Asks for messages, with QoS 1. Raises SessionLost."""
        code, _ = self._client.subscribe(topic_filter, qos=QOS)
        if code is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise SessionLost(paho.error_string(code))

    def close(self) -> None:
        """Says goodbye: the broker forgets the will, unless the options have it spoken (MQTT 5)."""
        if self._options.will_at_goodbye and self.protocol is Protocol.V5:
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=_WITH_WILL))
        else:
            self._client.disconnect()
        self.ended.wait(2.0)
        self.drop("closed")

    def drop(self, why: str) -> None:
        """Cuts the connection without a goodbye, where it is not over yet: the broker speaks the will."""
        self.why_ended = self.why_ended or why
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):  # it was cut meanwhile
                connection.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()
        self.ended.set()

    # paho's thread calls these; they must be quick and never raise.

    def _connected(
        self,
        client: paho.Client,
        data: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if not reason.is_failure:
            theirs = getattr(properties, "ReceiveMaximum", None)
            if theirs is not None:
                self.in_flight_limit = max(1, min(self.in_flight_limit, theirs))
            self._window = threading.Semaphore(self.in_flight_limit)
        self._answer = reason
        self._word.set()

    def _subscribed(
        self, client: paho.Client, data: Any, mid: int, reasons: list[ReasonCode], properties: Properties
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error(
                "mqtt_commands_refused", broker=str(self.broker), reasons=[str(each) for each in reasons]
            )

    def _published(
        self, client: paho.Client, data: Any, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        with self._unacknowledged_lock:
            if mid in self._unacknowledged:
                self._unacknowledged.discard(mid)
                return
        self._window.release()
        self.acks.put(Ack(mid, reason.value))

    def _received(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours
        self._on_message(
            self,
            Received(
                topic=topic,
                payload=bytes(message.payload),
                retained=message.retain,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            ),
        )

    def _over(self, why: str) -> None:
        self.why_ended = self.why_ended or why
        self.ended.set()
        self._word.set()
        self._window.release(self._options.in_flight)  # whoever waits for room wakes, and finds it ended

    def _send(self, message: Message) -> Receipt:
        if self.ended.is_set():
            raise SessionLost(self.why_ended)
        if message.qos:
            info = self._publish(message)
        else:
            # Held until the mid is known: paho's thread reports it as published at once.
            with self._unacknowledged_lock:
                info = self._publish(message)
                self._unacknowledged.add(info.mid)
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise SessionLost(paho.error_string(info.rc))
        return Receipt(info)

    def _publish(self, message: Message) -> paho.MQTTMessageInfo:
        return self._client.publish(
            message.topic, message.payload, message.qos, message.retain, self._properties(message)
        )

    def _identify(self) -> None:
        broker = self.broker
        if broker.username is not None:
            password = None
            if broker.password_file is not None:
                password = broker.password_file.read_text().rstrip("\r\n")
            self._client.username_pw_set(broker.username, password)
        if broker.tls is not None:
            self._client.tls_set_context(_context(broker.tls))

    def _start(self) -> dict[str, Any]:
        if self.protocol is Protocol.V311:
            return {}
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._options.session_expiry_s
        return {"clean_start": self._options.session_expiry_s == 0, "properties": properties}

    def _will_properties(self, will: Message) -> Properties | None:
        if self.protocol is Protocol.V311:
            return None
        properties = _properties(PacketTypes.WILLMESSAGE)
        properties.WillDelayInterval = self._options.will_delay_s
        return _described(properties, will)

    def _properties(self, message: Message) -> Properties | None:
        if self.protocol is Protocol.V311:
            return None
        return _described(_properties(PacketTypes.PUBLISH), message)


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _context(files: BrokerTls) -> ssl.SSLContext:
    """TLS 1.2 or newer, the broker's name checked. Raises OSError when a file is not right."""
    context = ssl.create_default_context(cafile=files.ca)
    context.sslsocket_class = _TlsSocket
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _described(properties: Properties, message: Message) -> Properties:
    if message.content_type is not None:
        properties.PayloadFormatIndicator = 1  # text
        properties.ContentType = message.content_type
    if message.user:
        properties.UserProperty = list(message.user.items())
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties
