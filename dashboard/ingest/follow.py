"""Follows one device's results in a thread of its own: nothing missed, nothing doubled, whatever breaks.

The device's sequence number is the only cursor, and it lies in the database beside the results. A new watch
goes on after the last result handed over; a new process after the last one stored. A device that has fewer
results than that was replaced: its numbers begin anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import grpc
import structlog

from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.roster import Place, Roster, TwoOfOneName
from lineside.dashboard.ingest.states import State
from lineside.dashboard.ingest.writer import Writer
from lineside.v1 import inspections_pb2, results_pb2

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
PATIENCE_S = 10.0
"""How long a new watch may take to bring what the device has."""
RECIPES_LEARNT = 200

log = structlog.get_logger(__name__)


def words_for(error: grpc.RpcError) -> str:
    """A call's failure in one short line."""
    if isinstance(error, grpc.Call):
        details = " ".join((error.details() or "").split())[:200]
        return f"{error.code().name}: {details}" if details else error.code().name
    return type(error).__name__


class Follower:
    """The thread `follow-ADDRESS`: from the device's watch to the writer.

    `place` is set once the device has said who it is; before that nothing of it is kept.
    """

    def __init__(
        self, channel: Channel, row: int, roster: Roster, writer: Writer, now: Callable[[], datetime]
    ) -> None:
        self._channel, self._row, self._roster, self._writer, self._now = channel, row, roster, writer, now
        self.place: Place | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._call: grpc.CallIterator[inspections_pb2.WatchInspectionsResponse] | None = None
        self._called_at = self._moved_at = 0.0
        self._learnt: set[str] = set()
        self._thread = threading.Thread(target=self._run, name=f"follow-{channel.address}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ends the watch; the thread ends soon."""
        self._stop.set()
        self._break_off()

    def stop(self) -> None:
        """As `ask_to_stop`, and returns when the thread has ended, after 10 seconds at the latest."""
        self.ask_to_stop()
        self._thread.join(10.0)

    def compare(self, last_sequence: int) -> None:
        """Told what the device has: breaks off a watch that had time enough to bring it and did not."""
        place = self.place
        if place is not None and place.sequence != last_sequence:
            since = time.monotonic() - max(self._called_at, self._moved_at)
            if since > PATIENCE_S:
                self._break_off()

    def _break_off(self) -> None:
        with self._lock:
            if self._call is not None:
                self._call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs has it bare

    def _run(self) -> None:
        pause, said = FIRST_PAUSE_S, ""
        while not self._stop.is_set():
            before = self.place
            try:
                self._follow()
            except grpc.RpcError as error:
                words = words_for(error)
                if words != said and not self._stop.is_set():
                    log.info("watch ended", device=str(self._channel.address), error=words)
                said = words
            except TwoOfOneName as error:
                self._writer.board.put(State(self._row, self._now(), trouble=str(error)))
            except Exception as error:
                # The loop's edge: a device that sends nonsense, or a database that is away, must not end
                # this thread unseen.
                self._writer.board.put(State(self._row, self._now(), trouble=type(error).__name__))
                log.exception("follower failed", device=str(self._channel.address))
            if self.place != before:
                pause, said = FIRST_PAUSE_S, ""
            else:
                pause = min(pause * 2, LONGEST_PAUSE_S)
            self._stop.wait(pause)

    def _follow(self) -> None:
        device = translate.device(self._channel.device())
        place = self.place
        if place is None:
            place = self._roster.identify(self._row, device, self._now())
        if device.last_sequence < place.sequence:
            log.warning(
                "device began anew", device=device.device, had=place.sequence, has=device.last_sequence
            )
            place = Place(place.device_id, place.history + 1, 0)
            self._hand_over(Arrival(place.device_id, place.history, 0, self._now(), begins=True))
        self.place = place
        call = self._channel.watch(place.sequence)
        with self._lock:
            self._call, self._called_at = call, time.monotonic()
        try:
            for event in call:
                if self._stop.is_set():
                    return
                self._take(event)
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs has it bare
            with self._lock:
                self._call = None

    def _take(self, event: inspections_pb2.WatchInspectionsResponse) -> None:
        place = self.place
        if place is None:
            return
        self._moved_at = time.monotonic()
        if event.HasField("inspection"):
            self._learn(event.inspection.recipe)
            arrival = Arrival(
                place.device_id, place.history, event.inspection.sequence, self._now(), event.inspection
            )
        else:
            arrival = Arrival(place.device_id, place.history, event.progress.sequence, self._now())
        if self._hand_over(arrival):
            self.place = Place(place.device_id, place.history, max(place.sequence, arrival.sequence))
        self._moved_at = time.monotonic()

    def _hand_over(self, arrival: Arrival) -> bool:
        return self._writer.hand_over(arrival, self._stop)

    def _learn(self, recipe: results_pb2.RecipeRef) -> None:
        """Reads the text of a recipe that judged, once, so that pages know its questions and deadline."""
        if not recipe.recipe or recipe.hash in self._learnt or len(self._learnt) >= RECIPES_LEARNT:
            return
        try:
            text = self._channel.recipe_text(recipe.recipe, recipe.version)
        except grpc.RpcError as error:
            # Its results are then shown without questions and deadline; the next one asks again.
            log.info("recipe unknown", recipe=recipe.recipe, error=words_for(error))
            return
        self._learnt.add(recipe.hash)
        self._roster.keep_recipe(recipe.recipe, recipe.version, recipe.hash, text, self._now())
