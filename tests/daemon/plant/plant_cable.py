"""A piece of cable between a device and a port, which can be pulled."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

import pytest


class Relay:
    """A piece of cable to a port: `cut` pulls it, `mend` puts it back.

    `swallow` set: what the broker says is taken and thrown away, so that acknowledgements are lost.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = int(self._listener.getsockname()[1])
        self.swallow = False
        self.mended = True
        self.taken = 0
        self._stop = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def cut(self) -> None:
        self.mended = False
        for pair in self._pairs:
            for end in pair:
                _shut(end)

    def mend(self) -> None:
        self.mended = True

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.cut()
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._listener.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if not self.mended:
                client.close()
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                client.close()
                continue
            self.taken += 1
            self._pairs.append((client, broker))
            threading.Thread(
                target=self._serve, args=(client, broker), name="relay-pair", daemon=True
            ).start()

    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, (broker, False))
            selector.register(broker, selectors.EVENT_READ, (client, True))
            while not self._stop.is_set():
                for key, _ in selector.select(0.1):
                    other, from_broker = key.data
                    try:
                        data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                        if data and not (from_broker and self.swallow):
                            other.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        _shut(client)
                        _shut(broker)
                        return


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is shut already
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay_to() -> Iterator[Callable[[int], Relay]]:
    made: list[Relay] = []

    def make(port: int) -> Relay:
        made.append(Relay(port))
        return made[-1]

    yield make
    for relay in made:
        relay.close()
