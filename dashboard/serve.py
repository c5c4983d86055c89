"""Serves the pages: gunicorn with several processes and threads, which share nothing but the database.

Threads, because every live page holds one. On SIGTERM or SIGINT the live pages end, then the processes.
"""

from __future__ import annotations

import ssl
import threading
from types import FrameType
from typing import cast

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from lineside.dashboard.app import MOST_LIVE_PAGES, create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.current import EXTENSION
from lineside.dashboard.database.connection import Database, read_url
from lineside.dashboard.logs import ServerLogger

THREADS = MOST_LIVE_PAGES + 16
"""Live pages never take all threads: pages and pictures keep sixteen."""
GRACE_S = 10


class LiveWorker(ThreadWorker):
    """A threaded worker that tells live pages to end before it waits for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: end the streams, then what gunicorn does."""
        cast(DashboardServer, self.app).stopping.set()
        super().handle_exit(sig, frame)  # type: ignore[no-untyped-call]  # gunicorn is untyped

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT and SIGQUIT: the same, at once."""
        cast(DashboardServer, self.app).stopping.set()
        super().handle_quit(sig, frame)  # type: ignore[no-untyped-call]  # gunicorn is untyped


class DashboardServer(BaseApplication):
    """gunicorn around `create_app`. `run` returns by ending the process."""

    def __init__(self, config: DashboardConfig) -> None:
        self.dashboard_config = config
        self.stopping = threading.Event()
        self._made: Flask | None = None
        super().__init__()  # type: ignore[no-untyped-call]  # gunicorn is untyped

    def load_config(self) -> None:
        """What gunicorn is told; nothing comes from its own files or environment."""
        config = self.dashboard_config
        settings = {
            "bind": [str(config.listen)],
            "workers": config.workers,
            "threads": THREADS,
            "worker_class": f"{__name__}.{LiveWorker.__name__}",
            "logger_class": f"{ServerLogger.__module__}.{ServerLogger.__name__}",
            "graceful_timeout": GRACE_S,
            "timeout": 60,
            "keepalive": 15,
            "proc_name": "lineside-dashboard",
            # Who asks and over what is read by the application, and only behind a proxy that was named.
            "forwarded_allow_ips": "",
            # A second way in that nobody uses (only newer versions have it).
            "control_socket_disable": True,
            "worker_exit": lambda _arbiter, _worker: self.close(),
        }
        if config.tls is not None:
            settings |= {
                "certfile": str(config.tls.certificate),
                "keyfile": str(config.tls.key),
                "ssl_context": lambda _config, default: _modern(default()),
            }
        known = self.cfg
        if known is None:
            raise RuntimeError("gunicorn has not made its configuration")
        for name, value in settings.items():
            if name in known.settings:
                known.set(name, value)

    def load(self) -> Flask:
        """Called in the worker process: neither gRPC nor a database connection survives a fork."""
        database = Database(read_url(self.dashboard_config.database))
        self._made = create_app(self.dashboard_config, database, stopping=self.stopping)
        return self._made

    def close(self) -> None:
        """Lets go of devices and database."""
        if self._made is not None:
            surroundings = self._made.extensions[EXTENSION]
            surroundings.doors.close()
            surroundings.database.close()
            self._made = None


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
