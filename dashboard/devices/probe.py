"""Asks one device every few seconds how it is, in a thread of its own.

Whether a device is silent is decided by these short calls with deadlines, not by the long watch,
whose break may go unnoticed. A watch that stands still while the device has newer results is told
to break off. Knows nothing of pages and browsers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import structlog

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.devices.follow import words_for
from lineside.dashboard.devices.memory import DeviceMemory

log = structlog.get_logger(__name__)


class Probe:
    """The thread `probe-ADDRESS`: from the device's state into its memory.

    `watch_stands_still` is called when the device has results that the watch does not bring.
    """

    def __init__(
        self, channel: Channel, memory: DeviceMemory, every_s: float, watch_stands_still: Callable[[], None]
    ) -> None:
        self._channel, self._memory, self._every_s = channel, memory, every_s
        self._watch_stands_still = watch_stands_still
        self._stop = threading.Event()
        self._behind_at: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"probe-{channel.address}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; returns when it has ended, after 10 seconds at the latest."""
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ask()
            except grpc.RpcError as error:
                if not self._stop.is_set():
                    self._memory.probe_failed(words_for(error))
            except Exception:
                # The loop's edge: as in the follower.
                self._memory.probe_failed("the device sent something this dashboard does not understand")
                log.exception("probe failed", device=str(self._channel.address))
            self._stop.wait(self._every_s)

    def _ask(self) -> None:
        device = translate.device(self._channel.device())
        stations = [translate.station(s) for s in self._channel.stations()]
        cameras = [translate.camera(c) for c in self._channel.cameras()]
        self._memory.seen(device, stations, cameras)
        self._check_watch(device.last_sequence)

    def _check_watch(self, last_sequence: int) -> None:
        """Breaks off a watch that two probes running stood at the same place behind the device."""
        cursor = self._memory.cursor
        behind = cursor is not None and cursor < last_sequence
        if (behind and cursor == self._behind_at) or self._memory.watch_is_stale():
            self._watch_stands_still()
            self._behind_at = None
        else:
            self._behind_at = cursor if behind else None
