"""Runs the dashboard: one gunicorn process with threads, which follows the devices while it lives.

One process, because the last-known state is in its memory; threads, because every live page holds
one. On SIGTERM or SIGINT the live pages end, the devices are let go of, and the process ends.
"""

from __future__ import annotations

import threading
from types import FrameType
from typing import cast

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from lineside.dashboard.app import MOST_LIVE_PAGES, create_app
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.devices.fleet import Fleet
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
        self.fleet: Fleet | None = None
        super().__init__()  # type: ignore[no-untyped-call]  # gunicorn is untyped

    def load_config(self) -> None:
        """What gunicorn is told; nothing comes from its own files or environment."""
        settings = {
            "bind": [str(self.dashboard_config.listen)],
            "workers": 1,
            "threads": THREADS,
            "worker_class": f"{__name__}.{LiveWorker.__name__}",
            "logger_class": f"{ServerLogger.__module__}.{ServerLogger.__name__}",
            "graceful_timeout": GRACE_S,
            "timeout": 60,
            "keepalive": 15,
            "proc_name": "lineside-dashboard",
            # Nobody stands in front of a loopback address: no header may rewrite who asks.
            "forwarded_allow_ips": "",
            # A second way in that nobody uses (only newer versions have it).
            "control_socket_disable": True,
            "worker_exit": lambda _arbiter, _worker: self.close(),
        }
        known = self.cfg
        if known is None:
            raise RuntimeError("gunicorn has not made its configuration")
        for name, value in settings.items():
            if name in known.settings:
                known.set(name, value)

    def load(self) -> Flask:
        """Called in the worker process: gRPC must not be used before a fork."""
        self.fleet = Fleet(self.dashboard_config)
        self.fleet.open()
        return create_app(self.dashboard_config, self.fleet, stopping=self.stopping)

    def close(self) -> None:
        """Lets go of the devices."""
        if self.fleet is not None:
            self.fleet.close()
            self.fleet = None
