"""Follows one device's results in a thread of its own: nothing missed, nothing doubled, whatever breaks.

The device's sequence number is the only cursor. On every new connection the watch goes on after the
last result dealt with; a device that has fewer results than that has begun anew (replaced, or its
store restored), so the memory begins anew as well. Knows nothing of pages and browsers.
"""

from __future__ import annotations

import threading
import time

import grpc
import structlog

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.devices.memory import KEPT, DeviceMemory
from lineside.dashboard.devices.recipes import RecipeCards
from lineside.dashboard.devices.values import Result
from lineside.v1 import inspections_pb2

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
PATIENCE_S = 10.0
"""How long a new watch may take to bring what the device has."""
HISTORY_PAGES = 20
"""Pages of history read at most on the first contact; counts then say since when they count."""
HISTORY_PAGES_FOR_STRIPS = 3
"""Pages read back beyond today, so that the strips of quiet stations are not empty in the morning."""

log = structlog.get_logger(__name__)


def words_for(error: grpc.RpcError) -> str:
    """A call's failure in one short line."""
    if isinstance(error, grpc.Call):
        details = " ".join((error.details() or "").split())[:200]
        return f"{error.code().name}: {details}" if details else error.code().name
    return type(error).__name__


class Follower:
    """The thread `follow-ADDRESS`: from the device's watch into its memory."""

    def __init__(self, channel: Channel, memory: DeviceMemory, cards: RecipeCards) -> None:
        self._channel, self._memory, self._cards = channel, memory, cards
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._call: grpc.CallIterator[inspections_pb2.WatchInspectionsResponse] | None = None
        self._called_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"follow-{channel.address}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch and the thread; returns when it has ended, after 10 seconds at the latest."""
        self._stop.set()
        self.break_off()
        self._thread.join(10.0)

    def break_off(self, older_than_s: float = 0.0) -> None:
        """Ends the watch that runs now if it began `older_than_s` ago; the thread goes on from its cursor."""
        with self._lock:
            if self._call is not None and time.monotonic() - self._called_at >= older_than_s:
                self._call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs has it bare

    def watch_stands_still(self) -> None:
        """As `break_off`, for a watch that had time enough to bring something."""
        self.break_off(older_than_s=PATIENCE_S)

    def _run(self) -> None:
        pause, said = FIRST_PAUSE_S, ""
        while not self._stop.is_set():
            before = self._memory.cursor
            try:
                self._follow()
            except grpc.RpcError as error:
                if not self._stop.is_set():
                    words = words_for(error)
                    self._memory.watch_failed(words)
                    if words != said:
                        log.info("watch ended", device=str(self._channel.address), error=words)
                    said = words
            except Exception:
                # The loop's edge: a device that sends nonsense must not end this thread unseen;
                # its page greys out, and says so.
                self._memory.watch_failed("the device sent something this dashboard does not understand")
                log.exception("follower failed", device=str(self._channel.address))
            if self._memory.cursor != before:
                pause, said = FIRST_PAUSE_S, ""
            else:
                pause = min(pause * 2, LONGEST_PAUSE_S)
            self._stop.wait(pause)

    def _follow(self) -> None:
        device = self._channel.device()
        cursor = self._memory.cursor
        if cursor is None or device.last_sequence < cursor:
            self._read_history()
        call = self._channel.watch(self._memory.cursor or 0)
        with self._lock:
            self._call, self._called_at = call, time.monotonic()
        try:
            if self._stop.is_set():
                return
            for event in call:
                if event.HasField("inspection"):
                    self._take(translate.result(event.inspection))
                elif event.HasField("progress"):
                    self._memory.watch_lives(event.progress.sequence)
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs has it bare
            with self._lock:
                self._call = None

    def _take(self, result: Result) -> None:
        self._learn(result)
        self._memory.remember(result)

    def _learn(self, result: Result) -> None:
        """Reads the recipe that judged, once, so that no page has to wait for it."""
        try:
            if result.recipe.name:
                self._cards.learn(result.recipe, self._channel.recipe_text)
        except grpc.RpcError as error:
            # The result is then shown without its deadline; the next one asks again.
            log.info("recipe unknown", recipe=result.recipe.name, error=words_for(error))

    def _read_history(self) -> None:
        history = self._memory.new_history()
        token = ""
        pages = 0
        while not self._stop.is_set():
            page = self._channel.inspections(token)
            pages += 1
            for message in page.inspections:
                history.add_older(translate.result(message))
            token = page.next_token
            strips_full = bool(history.rings) and all(len(ring) == KEPT for ring in history.rings.values())
            enough = history.reached_yesterday and (strips_full or pages >= HISTORY_PAGES_FOR_STRIPS)
            if not token or enough or pages >= HISTORY_PAGES:
                break
        for ring in history.rings.values():
            self._learn(ring[-1])
        self._memory.begin(history, whole_day=history.reached_yesterday or not token)
