"""Reviews: when a part is settled, what is counted, what reaches the device, and the page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import grpc
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from lineside.dashboard.config import Address
from lineside.dashboard.current import EXTENSION
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.people_tables import Audit
from lineside.dashboard.database.quality_tables import GoldenPicture, ReviewedParts
from lineside.dashboard.database.result_tables import Result, Review
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.ingest.arrivals import Arrival
from lineside.dashboard.ingest.ledger import Ledger
from lineside.dashboard.ingest.shifts import DEFAULT, ShiftPlan
from lineside.dashboard.labels.desk import Desk, RefusedDecision, Said
from lineside.dashboard.labels.policy import Policy, RefusedPolicy
from lineside.dashboard.labels.send import Sender
from lineside.dashboard.labels.settle import Decision, State, settle
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Role
from lineside.dashboard.reading import queue

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OK, NG, CANNOT = Decision.OK, Decision.NOT_OK, Decision.CANNOT_TELL
ONE_READER = Policy(0.0, second_reader=False, second_share=0.0)
TWO_READERS = Policy(0.0, second_reader=True, second_share=0.0)


# The rule.


@pytest.mark.parametrize(
    ("verdict", "decisions", "state", "truth"),
    [
        ("NOT_OK", [], State.WAITING, None),
        ("NOT_OK", [NG], State.DONE, NG),
        ("NOT_OK", [OK], State.SECOND, None),
        ("OK", [NG], State.SECOND, None),
        ("NOT_DECIDABLE", [NG], State.DONE, NG),
        ("NOT_DECIDABLE", [CANNOT], State.SECOND, None),
        ("NOT_OK", [OK, OK], State.DONE, OK),
        ("NOT_OK", [OK, NG], State.DISPUTED, None),
        ("NOT_OK", [OK, NG, OK], State.DONE, OK),
    ],
)
def test_when_a_part_is_settled(
    verdict: str, decisions: list[Decision], state: State, truth: Decision | None
) -> None:
    settled = settle(verdict, True, decisions, second_reader=True)
    assert (settled.state, settled.truth) == (state, truth)


@given(
    st.sampled_from(["OK", "NOT_OK", "NOT_DECIDABLE"]),
    st.lists(st.sampled_from(list(Decision)), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_part_has_a_truth_exactly_when_it_is_done_and_it_is_the_last_word(
    verdict: str, decisions: list[Decision], second_reader: bool, drawn: bool
) -> None:
    settled = settle(verdict, True, decisions, second_reader=second_reader, drawn=drawn)
    assert (settled.truth is not None) == (settled.state is State.DONE)
    if settled.truth is not None:
        assert settled.truth is decisions[-1]
    if len(decisions) == 1 and not second_reader:
        assert settled.state is State.DONE


def test_second_readings_by_lot_are_about_as_many_as_wished() -> None:
    policy = Policy(0.0, second_share=0.2)
    drawn = sum(policy.draws(f"0190aaaa-{n}") for n in range(2000))
    assert 330 < drawn < 470
    with pytest.raises(RefusedPolicy):
        Policy(1.5)


# The desk, on both databases.


class Line:
    """A database with one station's results and two people."""

    def __init__(self, database: Database, make: ModuleType) -> None:
        self.database, self.make = database, make
        with database.writing() as session:
            device = Device(device="edge-07", address="edge-07:1", found_by="configured")
            session.add(device)
            session.flush()
            self.device = device.id
            self.people = {
                name: accounts.person(session, accounts.add(session, name, role, None, by="test", at=NOON))
                for name, role in (("ana", Role.REVIEWER), ("ben", Role.REVIEWER), ("eva", Role.ENGINEER))
            }
        self.ledger = Ledger(database, ShiftPlan.read(DEFAULT, UTC), 1.0)

    def judge(self, *evaluations: Any) -> None:
        arrivals = []
        for n, evaluation in enumerate(evaluations, 1):
            message = self.make.inspection(n, evaluation, label="cracked", when=NOON)
            message.sequence, message.expected["lot"] = n, "L1"
            arrivals.append(Arrival(self.device, 1, n, NOON, message))
        self.ledger.store(arrivals)

    def decide(
        self, number: int, who: str, decision: Decision, policy: Policy = TWO_READERS, at: datetime = NOON
    ) -> State:
        with self.database.writing() as session:
            person = self.people[who]
            row = session.scalars(select(Result).where(Result.sequence == number)).one()
            desk = Desk(self.database, session, person, policy, at)
            said = Said(decision, ask="cap", label="cracked" if decision is NG else None)
            return desk.decide(row, said, engineer=person.role is Role.ENGINEER).state

    def undo(self, who: str, at: datetime = NOON) -> str | None:
        with self.database.writing() as session:
            row = Desk(self.database, session, self.people[who], TWO_READERS, at).undo()
            return row.result_id if row is not None else None

    def ahead(self, who: str, kind: str = "first", show: str = "") -> list[int]:
        wish = queue.Wish(kind, show)
        with self.database.reading() as session:
            stations = queue.stations_for(session, self.people[who], Role.REVIEWER, wish)
            return [w.result.sequence for w in queue.ahead(session, self.people[who], stations, wish)]

    def counts(self, who: str = "ana") -> dict[str, int]:
        with self.database.reading() as session:
            stations = queue.stations_for(session, self.people[who], Role.REVIEWER, queue.Wish())
            return queue.counts(session, self.people[who], stations)

    def truths(self) -> dict[tuple[str, str, str], int]:
        with self.database.reading() as session:
            found = session.execute(
                select(
                    ReviewedParts.verdict,
                    ReviewedParts.because,
                    ReviewedParts.truth,
                    func.sum(ReviewedParts.n),
                ).group_by(ReviewedParts.verdict, ReviewedParts.because, ReviewedParts.truth)
            )
            return {(v, b, t): int(n) for v, b, t, n in found if n}


@pytest.fixture
def line(database: Database, make: ModuleType) -> Line:
    return Line(database, make)


def test_a_decision_is_kept_counted_and_audited_and_undone_without_a_trace_in_the_counts(
    line: Line, make: ModuleType
) -> None:
    line.judge(make.OK, make.NOT_OK, make.NOT_DECIDABLE)
    assert line.counts() == {"first": 3, "second": 0, "disputed": 0}
    assert line.ahead("ana", show="sample") == [1]
    assert line.ahead("ana", show="NOT_DECIDABLE") == [3]
    assert line.decide(2, "ana", NG) is State.DONE
    assert line.truths() == {("NOT_OK", "verdict", "NOT_OK"): 1}
    assert line.ahead("ana") == [1, 3]
    assert line.undo("ana") == "0190aaaa-0000-7000-8000-000000000002"
    assert line.truths() == {}
    assert line.counts()["first"] == 3
    assert line.undo("ana") is None
    with line.database.reading() as session:
        assert [a for a in session.scalars(select(Audit.action).order_by(Audit.id)) if "review" in a] == [
            "review.decide",
            "review.undo",
        ]
        kept = session.scalars(select(Review)).one()
        assert kept.undone_at is not None, "what was undone is kept"


def test_a_contradiction_goes_to_another_person_and_a_disagreement_to_an_engineer(
    line: Line, make: ModuleType
) -> None:
    line.judge(make.NOT_OK)
    assert line.decide(1, "ana", OK) is State.SECOND
    assert (line.ahead("ana", "second"), line.ahead("ben", "second")) == ([], [1])
    assert line.decide(1, "ben", NG) is State.DISPUTED
    assert line.truths() == {}
    with pytest.raises(RefusedDecision):
        third(line)
    assert line.decide(1, "eva", OK) is State.DONE
    assert line.truths() == {("NOT_OK", "verdict", "OK"): 1}


def third(line: Line) -> None:
    with line.database.writing() as session:
        carl = accounts.person(
            session, accounts.add(session, "carl", Role.REVIEWER, None, by="test", at=NOON)
        )
        row = session.scalars(select(Result)).one()
        Desk(line.database, session, carl, TWO_READERS, NOON).decide(row, Said(OK), engineer=False)


def test_two_who_decide_at_once_make_a_second_reading(line: Line, make: ModuleType) -> None:
    line.judge(make.NOT_OK)
    assert line.decide(1, "ana", NG) is State.DONE
    assert line.decide(1, "ben", NG) is State.DONE
    assert line.truths() == {("NOT_OK", "verdict", "NOT_OK"): 1}
    assert line.decide(1, "ben", OK) is State.DISPUTED
    assert line.truths() == {}


def test_a_skipped_part_comes_last_for_who_skipped_it_alone(line: Line, make: ModuleType) -> None:
    line.judge(make.NOT_OK, make.NOT_OK)
    with line.database.writing() as session:
        row = session.scalars(select(Result).where(Result.sequence == 1)).one()
        Desk(line.database, session, line.people["ana"], TWO_READERS, NOON).skip(row)
    assert (line.ahead("ana"), line.ahead("ben")) == ([2, 1], [1, 2])


def test_undo_ends_after_half_an_hour(line: Line, make: ModuleType) -> None:
    line.judge(make.NOT_OK)
    line.decide(1, "ana", NG)
    assert line.undo("ana", NOON + timedelta(minutes=31)) is None


def test_the_counter_of_waiting_parts_is_what_waits(line: Line, make: ModuleType) -> None:
    line.judge(*[make.NOT_OK, make.OK, make.NOT_DECIDABLE] * 4)
    for number, who, decision in ((1, "ana", OK), (2, "ben", OK), (3, "ana", CANNOT), (1, "ben", NG)):
        line.decide(number, who, decision)
    line.undo("ana")
    with line.database.reading() as session:
        waits = session.scalar(select(func.count()).where(Result.review == "waiting"))
        assert session.scalars(select(Station.waiting)).one() == waits == 10


# To the device.


def sender_for(database: Database, address: Address) -> tuple[Sender, Channel]:
    channel = Channel(address)
    channel.open()
    later = datetime.now(UTC) + timedelta(minutes=5)
    return Sender(database, lambda _row: channel, lambda: later), channel


def test_decisions_reach_the_device_once_in_order_and_later_when_it_is_away(
    line: Line, make: ModuleType, device: Any
) -> None:
    for _ in range(3):
        device.store(make.inspection(len(device._stored) + 1, make.NOT_OK, label="cracked"))
    line.judge(make.NOT_OK, make.NOT_OK, make.NOT_OK)
    line.decide(1, "ana", NG)
    line.decide(2, "ana", OK)  # wants a second reader: not settled, not sent
    line.decide(3, "ana", NG)
    line.undo("ana")  # undone before it was sent: never sent
    device.stop()
    sender, channel = sender_for(line.database, Address("127.0.0.1", device.port))
    assert sender.send() == 0
    device.start()
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while sender.send() == 0:
        assert datetime.now(UTC) < deadline
    assert [(r.reviewer, r.evaluation, dict(r.answers)) for r in device.reviews] == [
        ("ana", make.NOT_OK, {"cap": "cracked"})
    ]
    line.decide(2, "ben", OK)
    assert sender.send() == 2
    assert [r.reviewer for r in device.reviews] == ["ana", "ana", "ben"]
    assert sender.send() == 0
    assert line.undo("ben") is not None
    assert sender.send() == 1
    assert device.reviews[-1].comment == "taken back"
    assert device.reviews[-1].evaluation == make.NOT_DECIDABLE
    channel.close()


def test_a_label_that_a_device_will_never_take_is_kept_with_the_reason(
    line: Line, make: ModuleType, device: Any
) -> None:
    line.judge(make.NOT_OK)
    line.decide(1, "ana", NG)
    sender, channel = sender_for(line.database, Address("127.0.0.1", device.port))
    assert sender.send() == 0
    with line.database.reading() as session:
        assert session.scalars(select(Review.refused)).one().startswith(grpc.StatusCode.NOT_FOUND.name)
    channel.close()


# The page.


def post(client: FlaskClient, path: str, **form: str) -> Any:
    html = client.get("/review").text
    token = html.partition('name="csrf" value="')[2].partition('"')[0]
    return client.post(path, data={"csrf": token, **form}, follow_redirects=True)


def test_the_page_shows_a_part_beside_its_golden_part_and_takes_a_decision(
    device: Any, make: ModuleType, client_for: Callable[..., FlaskClient]
) -> None:
    device.store(make.inspection(1), frame=make.JPEG)
    for n in (2, 3):
        device.store(make.inspection(n, make.NOT_OK, label="cracked"), frame=make.JPEG + bytes([n]))
    client = client_for(device)
    html = client.get("/review").text
    for words in ("part-0002", "Is the cap on straight?", "0.97", "Last OK part of this station", "2 left"):
        assert words in html
    first = "0190aaaa-0000-7000-8000-000000000002"
    html = post(client, f"/review/{first}", label="cap\ncracked", seconds="2.5").text
    assert "Last: part-0002" in html
    assert "part-0003" in html
    html = post(client, f"/review/{first}/golden").text
    assert "Kept as a golden part." in html
    database = client.application.extensions[EXTENSION].database
    with database.reading() as session:
        kept = session.scalars(select(GoldenPicture)).one()
        review = session.scalars(select(Review)).one()
    assert client.get(f"/golden/{kept.evidence_id}").data == make.JPEG + b"\x02"
    assert (review.decision, review.ask, review.label, review.seconds) == ("NOT_OK", "cap", "cracked", 2.5)
    assert "part-0002" in post(client, "/review/undo").text


def test_what_comes_from_a_device_is_never_markup_in_the_queue(
    device: Any, make: ModuleType, client_for: Callable[..., FlaskClient]
) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    bad = make.inspection(1, make.NOT_OK, part_id=hostile, label=hostile)
    bad.reasons[0].message = bad.recipe.recipe = bad.outcomes[0].ask = hostile
    bad.expected["lot"] = hostile
    device.store(bad, frame=make.JPEG)
    html = client_for(device).get("/review").text
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_nobody_decides_on_a_line_where_they_may_only_look(
    device: Any, make: ModuleType, app_for: Any, client_of: Any
) -> None:
    stored = device.store(make.inspection(1, make.NOT_OK, label="cracked"))
    app = app_for(device)
    client = client_of(app, Role.REVIEWER, "ben")
    surroundings = app.extensions[EXTENSION]
    with surroundings.database.writing() as session:
        ben = accounts.get(session, "ben")
        place = ("Nord", "Filling", "Line 2")
        accounts.set_line_right(session, ben, place, Role.VIEWER, by="test", at=surroundings.now())
    html = client.get("/review").text
    assert "part-0001" not in html
    token = html.partition('name="csrf" value="')[2].partition('"')[0]
    answer = client.post(f"/review/{stored.result_id}", data={"csrf": token, "decision": "OK"})
    assert answer.status_code == 403


def test_the_sample_is_set_by_an_admin_and_followed(
    device: Any, make: ModuleType, client_for: Callable[..., FlaskClient], wait_until: Any
) -> None:
    client = client_for(device)
    device.store(make.inspection(1))
    html = post(client, "/review/settings", sample_percent="100", second_percent="0", second_reader="1").text
    assert 'value="100"' in html
    assert "between 0 and 100" in post(client, "/review/settings", sample_percent="101").text

    def sampled() -> bool:
        device.store(make.inspection(len(device._stored) + 1))
        return "Drawn by chance" in client.get("/review").text

    wait_until(sampled, "an OK part is sampled")
