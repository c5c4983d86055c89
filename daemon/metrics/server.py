"""The Prometheus endpoint: `GET /metrics` on one address, served by the thread `metrics`.

One request at a time, and none for longer than a few seconds: asking costs the line nothing. Knows no metric.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

LONGEST_REQUEST_S = 5.0
LOG = structlog.get_logger("metrics")

Subject = Callable[[], Iterable[Metric]]


class MetricsAddressTaken(Exception):
    """The address cannot be listened on; the message says why."""


class Subjects(Collector):
    """Asks each subject in turn. One that cannot be read now leaves the others their say."""

    def __init__(self, subjects: Mapping[str, Subject]) -> None:
        self._subjects = subjects

    def describe(self) -> Iterable[Metric]:
        """Nothing: that reading may touch the disk is no reason to do so at the start."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, and which subjects could not be read."""
        readable = GaugeMetricFamily(
            "lineside_metrics_readable", "Whether a group of metrics could be read now", labels=["group"]
        )
        for name, subject in self._subjects.items():
            try:
                families = list(subject())
            except Exception as error:  # noqa: BLE001 - the loop's edge: a broken disk must not hide the cameras
                LOG.warning("metrics cannot be read", group=name, because=repr(error))
                readable.add_metric([name], 0)
                continue
            readable.add_metric([name], 1)
            yield from families
        yield readable


class _Handler(WSGIRequestHandler):
    timeout = LONGEST_REQUEST_S

    def log_message(self, *arguments: object) -> None:
        """Scrapes are not worth a line."""


class _Server(WSGIServer):
    request_queue_size = 8

    def server_bind(self) -> None:
        """Without asking a name server for this machine's name, as the standard library does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, address: object) -> None:
        """A client that went away is none of ours."""
        LOG.debug("a metrics request failed", exc_info=True)


class MetricsServer:
    """Serves subjects. `open` listens, `close` ends the thread."""

    def __init__(self, listen: str, subjects: Mapping[str, Subject]) -> None:
        """`listen`: `host:port`; port 0 for any free one."""
        self._listen = listen
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Subjects(subjects))
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> int:
        """Listens and serves; the port. Raises MetricsAddressTaken."""
        host, _, port = self._listen.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = type("_Server", (_Server,), {"address_family": family})
        try:
            server: _Server = kind((host, int(port)), _Handler)
        except OSError as error:
            raise MetricsAddressTaken(f"cannot serve metrics on {self._listen}: {error.strerror}") from error
        server.set_app(make_wsgi_app(self._registry))
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        return server.server_port

    def close(self) -> None:
        """Ends the thread and frees the address."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None
