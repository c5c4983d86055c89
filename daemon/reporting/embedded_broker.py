"""A broker for demonstrations, where no Mosquitto is installed: amqtt, MQTT 3.1.1 only, on loopback only.

It owns the thread `embedded-broker` with its own event loop. It keeps nothing on disk and is not for plants.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

from amqtt.broker import Broker
from amqtt.errors import BrokerError

HOST = "127.0.0.1"


class EmbeddedBroker:
    """`open` listens and gives the port, `close` ends it. Port 0: any free one."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._opened = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="embedded-broker", daemon=True)

    def open(self, timeout_s: float = 30.0) -> int:
        """Starts listening; gives the port.

        Raises:
            OSError: the port is taken, or the broker does not come up within `timeout_s`.
        """
        self._port = self._port or _free_port()
        self._thread.start()
        if not self._opened.wait(timeout_s):
            raise OSError(f"the embedded broker did not come up within {timeout_s:g} s")
        if self._failure is not None:
            self._thread.join()
            raise OSError(f"the embedded broker cannot listen on {HOST}:{self._port}: {self._failure}")
        return self._port

    def close(self) -> None:
        """Ends all connections and the thread. A second call does nothing."""
        if self._thread.is_alive() and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        # amqtt reports every connection on the information level; only trouble is of interest here.
        logging.getLogger("amqtt").setLevel(logging.ERROR)
        logging.getLogger("transitions").setLevel(logging.ERROR)
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{self._port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            },
            loop=self._loop,
        )
        try:
            await broker.start()
        except (BrokerError, OSError) as error:
            self._failure = error
            self._opened.set()
            return
        self._opened.set()
        await self._stop.wait()
        await broker.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
