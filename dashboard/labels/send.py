"""Hands decisions to the devices they are about: later when a device is away, once, and never lost.

Only what is settled is sent, in the order of deciding, so that the last one a device keeps is the label. A
decision waits a moment first, so that most of what is undone was never sent; one undone later is taken back
by another. Each call carries an id of its own: repeating it stores nothing twice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import grpc
import structlog
from sqlalchemy import select, text, update
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.database.result_tables import UNSENT_REVIEW, Result, Review
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.labels.settle import Decision, State
from lineside.v1 import results_pb2, reviews_pb2

EVERY_S = 2.0
SETTLES_AFTER = timedelta(seconds=20)
AT_ONCE = 200
EVALUATIONS = {
    Decision.OK: results_pb2.RESULT_EVALUATION_OK,
    Decision.NOT_OK: results_pb2.RESULT_EVALUATION_NOT_OK,
    Decision.CANNOT_TELL: results_pb2.RESULT_EVALUATION_NOT_DECIDABLE,
}
NEVER = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.FAILED_PRECONDITION,
)
"""Answers that asking again will not change."""

log = structlog.get_logger(__name__)


class Sender:
    """The thread `labels`. `channel_of` gives the way to a device that is followed now."""

    def __init__(
        self,
        database: Database,
        channel_of: Callable[[int], Channel | None],
        now: Callable[[], datetime],
        *,
        settles_after: timedelta = SETTLES_AFTER,
        every_s: float = EVERY_S,
    ) -> None:
        self._database, self._channel_of, self._now = database, channel_of, now
        self._settles_after, self._every_s = settles_after, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labels", daemon=True)
        self._after = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the call it makes; what was not sent is sent by the next one."""
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.send()
            except SQLAlchemyError as error:
                log.error("labels not read from the database; trying again", error=str(error)[:300])
            except Exception:
                # The loop's edge: labels must go on being sent after whatever one of them did.
                log.exception("labels not sent")

    def send(self) -> int:
        """Sends what is due to devices that are there, a bounded number at once; gives how many arrived."""
        due = self._due()
        # Those of devices that are away must not keep the others from their turn for ever.
        self._after = due[-1][0].id if len(due) == AT_ONCE else 0
        by_device: defaultdict[int, list[tuple[Review, Result, str]]] = defaultdict(list)
        for one in due:
            by_device[one[1].device_id].append(one)
        return sum(self._to(device, waiting) for device, waiting in by_device.items())

    def _due(self) -> list[tuple[Review, Result, str]]:
        with self._database.reading() as session:
            found = session.execute(
                select(Review, Result, User.name)
                .join(Result, Result.id == Review.result)
                .join(User, User.id == Review.user_id)
                .where(text(UNSENT_REVIEW.replace("refused", "reviews.refused")))
                .where(Review.id > self._after, Review.decided_at <= self._now() - self._settles_after)
                # What was taken back is told at once; the rest when it is settled.
                .where((Result.review == State.DONE.value) | Review.undone_at.is_not(None))
                .order_by(Review.id)
                .limit(AT_ONCE)
            ).all()
            session.expunge_all()
        return [(review, result, name) for review, result, name in found]

    def _to(self, device: int, waiting: list[tuple[Review, Result, str]]) -> int:
        channel, arrived = self._channel_of(device), 0
        if channel is None:
            return 0
        for review, result, name in waiting:
            if self._stop.is_set():
                break
            refused = ""
            try:
                channel.submit_review(*_message(review, result, name))
            except grpc.RpcError as error:
                code = error.code() if isinstance(error, grpc.Call) else None
                if code is None or code not in NEVER:
                    break  # away: all of its labels wait
                refused = f"{code.name}: {(error.details() or '')}"[:300]
                log.warning("label refused", result_id=result.result_id, why=refused)
            self._keep(review, refused)
            arrived += not refused
        return arrived

    def _keep(self, review: Review, refused: str) -> None:
        told = "undo_sent_at" if review.undone_at is not None else "sent_at"
        values: dict[str, object] = {"refused": refused} if refused else {told: self._now()}
        with self._database.writing() as session:
            session.execute(update(Review).where(Review.id == review.id).values(**values))


def _message(review: Review, result: Result, name: str) -> tuple[reviews_pb2.Review, str]:
    taken_back = review.undone_at is not None
    decision = Decision.CANNOT_TELL if taken_back else Decision(review.decision)
    answers = {review.ask: review.label} if review.ask and review.label and not taken_back else {}
    message = reviews_pb2.Review(
        inspection=f"devices/-/inspections/{result.result_id}",
        evaluation=EVALUATIONS[decision],
        answers=answers,
        comment="taken back" if taken_back else review.note,
        reviewer=name,
    )
    # With the time: a dashboard set up anew counts its reviews from one again.
    stamp = int(review.decided_at.timestamp() * 1000)
    return message, f"{'undo' if taken_back else 'set'}-{review.id}-{stamp}-{result.result_id}"[:128]
