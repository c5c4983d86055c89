"""Two consumers outside the daemon, as a plant has them: one on the broker, one on gRPC.

Each runs in its own named thread, reconnects for ever, and keeps what it received. They share no
code with the daemon's own reporting: what they hear is what a plant would hear.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import grpc
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from lineside.v1 import inspections_pb2, inspections_pb2_grpc

VERDICT_TOPICS = "lineside/v1/+/+/+/+/stations/+/verdict"


class BrokerListener:
    """Receives every verdict message of a broker; `on_record` is called once per new `result_id`."""

    def __init__(self, host: str, port: int, on_record: Callable[[Mapping[str, object]], None]) -> None:
        self._address = (host, port)
        self._on_record = on_record
        self._lock = threading.Lock()
        self._ids: set[str] = set()
        self._repeated = 0
        self._subscribed = threading.Event()
        # A fixed session: what falls while this listener is away is kept by the broker.
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id="lineside-demo-listener", clean_session=False,
            protocol=mqtt.MQTTv311,
        )  # fmt: skip
        self._client.on_connect = self._connected
        self._client.on_message = self._received
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.reconnect_delay_set(1, 2)

    def __enter__(self) -> Self:
        self._client.connect_async(*self._address)
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_until_listening(self, timeout_s: float) -> bool:
        """Whether the subscription stands within the time."""
        return self._subscribed.wait(timeout_s)

    @property
    def received(self) -> int:
        """Different results heard."""
        with self._lock:
            return len(self._ids)

    @property
    def repeated(self) -> int:
        """Messages heard for a result already known (the wire is at-least-once)."""
        with self._lock:
            return self._repeated

    def _connected(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(VERDICT_TOPICS, qos=1)

    def _received(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        record = json.loads(message.payload)
        with self._lock:
            known = record["result_id"] in self._ids
            self._repeated += known
        if not known:
            self._on_record(record)
            with self._lock:
                # Counted once it was handed on: who sees the count finds the record.
                self._ids.add(record["result_id"])


class WatchListener:
    """Follows `WatchInspections` from a cursor; survives a device that goes away and comes back."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ids: set[str] = set()
        self._cursor = 0
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name="demo-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._lock:
            call = self._call
        if call is not None:
            call.cancel()  # type: ignore[no-untyped-call]
        self._thread.join(timeout=5)

    @property
    def received(self) -> int:
        """Different results heard."""
        with self._lock:
            return len(self._ids)

    def _run(self) -> None:
        while not self._stop.is_set():
            with grpc.insecure_channel(self._target) as channel:
                try:
                    self._follow(inspections_pb2_grpc.InspectionServiceStub(channel))
                except grpc.RpcError:
                    # Not up yet, or gone: ask again from the cursor.
                    self._stop.wait(0.2)

    def _follow(self, service: inspections_pb2_grpc.InspectionServiceStub) -> None:
        stream = service.WatchInspections(
            inspections_pb2.WatchInspectionsRequest(after_sequence=self._cursor), wait_for_ready=True
        )
        with self._lock:
            self._call = stream
        for event in stream:
            if event.WhichOneof("event") != "inspection":
                continue
            with self._lock:
                self._ids.add(event.inspection.result_id)
                self._cursor = event.inspection.sequence
