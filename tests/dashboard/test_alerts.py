"""Alerts begin and end with patience, are written once, and are told until somebody has them."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from lineside.dashboard.alerts.channels import Channel, Mail, Webhook, read_channels
from lineside.dashboard.alerts.deliver import GIVE_UP, Deliverer
from lineside.dashboard.alerts.levels import DeviceSeen, StationSeen, observe
from lineside.dashboard.alerts.plan import (
    DEFAULTS,
    Plan,
    QuietHours,
    RefusedPlan,
    Rule,
    Severity,
    read_plan,
    write_plan,
)
from lineside.dashboard.alerts.standing import CLEAR_S, Change, Level, Standing, step
from lineside.dashboard.alerts.watch import Watch
from lineside.dashboard.config import Address, DashboardConfig, RefusedConfiguration
from lineside.dashboard.database.alerting_tables import AlertDelivery
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, Station
from lineside.dashboard.database.steering_tables import Alert
from lineside.dashboard.ingest.owner import Owner
from lineside.dashboard.reading.views import Contact

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
SECRET = b"a secret of the plant's own"


def load(name: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


receivers = load("receivers")


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


# When one begins and ends.


@given(
    st.lists(st.tuples(st.sampled_from(list(Level)), st.integers(0, 90)), max_size=60), st.integers(0, 120)
)
def test_an_alert_begins_only_after_its_patience_and_ends_only_after_being_good(
    walk: list[tuple[Level, int]], hold: int
) -> None:
    standing, at, began_from, good_from = Standing(), NOON, None, None
    for level, seconds in walk:
        at += timedelta(seconds=seconds)
        before = standing.stands
        standing, change = step(standing, level, at, hold)
        began_from = (began_from or at) if level is Level.BAD else None
        good_from = (good_from or at) if level is Level.GOOD else None
        if change is Change.BEGAN:
            assert not before
            assert began_from is not None
            assert (at - began_from).total_seconds() >= hold
        elif change is Change.ENDED:
            assert before
            assert good_from is not None
            assert (at - good_from).total_seconds() >= CLEAR_S
        assert standing.stands == (before if change is Change.NONE else change is Change.BEGAN)


def test_what_flutters_around_its_limit_is_one_alert() -> None:
    seen = [4, 16, 14, 16, 12, 15, 9, 16]  # minutes; begins at 15, good again at 7.5
    standing, changes = Standing(), []
    for number, minutes in enumerate(seen):
        level = next(observe(DEFAULTS["outbox"], device(outbox_oldest_s=60.0 * minutes))).level
        standing, change = step(standing, level, NOON + timedelta(minutes=number), 0)
        changes.append(change)
    assert [c for c in changes if c is not Change.NONE] == [Change.BEGAN]


def device(**told: Any) -> DeviceSeen:
    known = {
        "id": 1,
        "name": "edge-07",
        "contact": Contact.LIVE,
        "silent_for_s": 1.0,
        "outbox_oldest_s": None,
        "disk_free_bytes": None,
        "temperature_c": None,
        "certificate_left_s": None,
        "clock_synchronised": True,
    }
    return DeviceSeen(**{**known, **told})


def station(**told: Any) -> StationSeen:
    known = {
        "id": 3,
        "name": "st1",
        "ready": True,
        "strip": "ooo",
        "waiting": 0,
        "recent": 0,
        "recent_review": 0,
    }
    return StationSeen(**{**known, **told})


@pytest.mark.parametrize(
    ("kind", "seen", "level"),
    [
        ("device_silent", device(contact=Contact.SILENT, silent_for_s=90.0), Level.BAD),
        ("device_silent", device(contact=Contact.NEVER), Level.UNKNOWN),
        ("outbox", device(outbox_oldest_s=15 * 60.0), Level.BAD),
        ("outbox", device(outbox_oldest_s=10 * 60.0), Level.BETWEEN),
        ("outbox", device(), Level.GOOD),
        ("disk", device(disk_free_bytes=4 * 1024**3), Level.BAD),
        ("disk", device(disk_free_bytes=6 * 1024**3), Level.BETWEEN),
        ("disk", device(), Level.UNKNOWN),
        ("hot", device(temperature_c=86.0), Level.BAD),
        ("hot", device(), Level.UNKNOWN),
        ("certificate", device(certificate_left_s=13 * 86400.0), Level.BAD),
        ("certificate", device(certificate_left_s=13 * 86400.0, contact=Contact.SILENT), Level.BAD),
        ("clock", device(clock_synchronised=False), Level.BAD),
        ("clock", device(clock_synchronised=False, contact=Contact.SILENT), Level.UNKNOWN),
        ("not_ready", device(stations=(station(ready=False),)), Level.BAD),
        ("not_ready", device(stations=(station(ready=False),), contact=Contact.SILENT), Level.UNKNOWN),
        ("ng_streak", device(stations=(station(strip="onnnnn"),)), Level.BAD),
        ("ng_streak", device(stations=(station(strip="nnnnno"),)), Level.GOOD),
        ("ng_streak", device(stations=(station(strip="onnnn"),)), Level.BETWEEN),
        ("review_rate", device(stations=(station(recent=29, recent_review=29),)), Level.UNKNOWN),
        ("review_rate", device(stations=(station(recent=100, recent_review=6),)), Level.BETWEEN),
        ("review_rate", device(stations=(station(recent=1000, recent_review=80),)), Level.BAD),
        ("review_rate", device(stations=(station(recent=1000, recent_review=20),)), Level.GOOD),
        ("waiting", device(stations=(station(waiting=50),)), Level.BAD),
    ],
)
def test_a_rule_sees_how_a_thing_is_and_believes_nothing_it_does_not_know(
    kind: str, seen: DeviceSeen, level: Level
) -> None:
    assert [observed.level for observed in observe(DEFAULTS[kind], seen)] == [level]


# Quiet hours.


@pytest.mark.parametrize(
    ("quiet", "moment", "until"),
    [
        (QuietHours(time(22), time(6)), NOON, None),
        (QuietHours(time(22), time(6)), NOON.replace(hour=23), NOON.replace(day=3, hour=6)),
        (QuietHours(time(22), time(6)), NOON.replace(hour=5), NOON.replace(hour=6)),
        (QuietHours(time(22), time(6)), NOON.replace(hour=6), None),
        (QuietHours(time(22), time(6), frozenset({6})), NOON.replace(hour=5), NOON.replace(hour=6)),
        (QuietHours(time(22), time(6), frozenset({0})), NOON.replace(hour=5), None),
        (QuietHours(time(9), time(17)), NOON, NOON.replace(hour=17)),
    ],
)
def test_quiet_hours_end_when_they_end(quiet: QuietHours, moment: datetime, until: datetime | None) -> None:
    assert quiet.until(moment, UTC) == until


def test_quiet_hours_are_the_plants_own_also_when_its_clocks_change() -> None:
    zone = ZoneInfo("Europe/Berlin")
    night = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # half past eleven; at two the clocks go forward
    assert QuietHours(time(22), time(6)).until(night, zone) == datetime(2026, 3, 29, 4, tzinfo=UTC)


def test_a_plan_comes_back_as_it_was_set(database: Database) -> None:
    rules = {**DEFAULTS, "disk": Rule("disk", Severity.CRITICAL, 2.5, 3, enabled=False)}
    plan = Plan(rules, QuietHours(time(22), time(6), frozenset({0, 4})), 0)
    with database.writing() as session:
        assert read_plan(session) == Plan()
        write_plan(session, plan, NOON)
    with database.reading() as session:
        assert read_plan(session) == plan


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rule("disk", Severity.NOTICE, -1, 0),
        lambda: Rule("disk", Severity.NOTICE, float("nan"), 0),
        lambda: Rule("disk", Severity.NOTICE, 5, 1e9),
        lambda: QuietHours(time(6), time(6)),
        lambda: QuietHours(time(6), time(7), frozenset()),
        lambda: Plan(escalate_min=-1),
        lambda: Severity.read("loud"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(RefusedPlan):
        wrong()


# From the fleet to the outbox.


HOOK = Channel("andon", Webhook("http://127.0.0.1:1/", Path("/nowhere")), least=Severity.WARNING)
NOTED = Channel("mail", Webhook("http://127.0.0.1:1/", Path("/nowhere")))
LATE = Channel("boss", Webhook("http://127.0.0.1:1/", Path("/nowhere")), escalation=True)
CONFIG = DashboardConfig(timezone=UTC)


@pytest.fixture
def fleet(database: Database) -> Database:
    """One device heard at noon, with one station."""
    with database.writing() as session:
        row = Device(device="edge-07", address="127.0.0.1:1", found_by="configured", line="Line 2")
        row.heard_at = row.watch_heard_at = NOON
        row.clock_synchronised = True
        session.add(row)
        session.flush()
        session.add(Station(device_id=row.id, station="st1", listed=True, ready=True, strip="ooo"))
    return database


def change(database: Database, table: Any, **values: object) -> None:
    with database.writing() as session:
        session.execute(update(table).values(**values))


def alerts(database: Database) -> list[tuple[str, str, bool]]:
    with database.reading() as session:
        return [
            (a.rule, a.key, a.ended_at is None) for a in session.scalars(select(Alert).order_by(Alert.id))
        ]


def messages(database: Database) -> list[tuple[str, str]]:
    with database.reading() as session:
        rows = session.scalars(select(AlertDelivery).order_by(AlertDelivery.id))
        return [(row.channel, row.event) for row in rows]


def hear(database: Database, clock: Clock, seconds: float) -> None:
    """Time goes on, and the device is heard."""
    clock.at += timedelta(seconds=seconds)
    change(database, Device, heard_at=clock.at, watch_heard_at=clock.at)


def test_a_lost_device_is_told_once_across_a_restart_and_its_return_as_well(
    fleet: Database, clock: Clock
) -> None:
    watch = Watch(fleet, CONFIG, (HOOK, NOTED, LATE), clock, url="https://qc.plant/")
    watch.look()
    clock.at += timedelta(seconds=30)
    watch.look()
    assert alerts(fleet) == []
    clock.at += timedelta(seconds=61)
    watch.look()
    Watch(fleet, CONFIG, (HOOK, NOTED, LATE), clock).look()
    assert alerts(fleet) == [("device_silent", "edge-07", True)]
    watch = Watch(fleet, CONFIG, (HOOK, NOTED, LATE), clock)
    hear(fleet, clock, 5)
    watch.look()
    assert alerts(fleet)[0][2], "back for a moment is not back"
    hear(fleet, clock, CLEAR_S)
    watch.look()
    watch.look()
    assert alerts(fleet) == [("device_silent", "edge-07", False)]
    assert messages(fleet) == [("andon", "began"), ("mail", "began"), ("andon", "ended"), ("mail", "ended")]


def test_each_channel_is_told_what_matters_enough(fleet: Database, clock: Clock) -> None:
    change(fleet, Station, waiting=60)
    watch = Watch(fleet, CONFIG, (HOOK, NOTED), clock)
    watch.look()
    hear(fleet, clock, 600)
    watch.look()
    assert (alerts(fleet), messages(fleet)) == ([("waiting", "edge-07/st1", True)], [("mail", "began")])


def test_in_quiet_hours_only_what_is_critical_goes_out_at_once(fleet: Database, clock: Clock) -> None:
    with fleet.writing() as session:
        write_plan(session, Plan(quiet=QuietHours(time(9), time(17))), NOON)
    change(fleet, Station, strip="nnnnn")
    change(fleet, Device, disk_free_bytes=1)
    watch = Watch(fleet, CONFIG, (NOTED,), clock)
    watch.look()
    hear(fleet, clock, 60)
    watch.look()
    with fleet.reading() as session:
        joined = select(Alert.rule, AlertDelivery.due_at).join(Alert, Alert.id == AlertDelivery.alert_id)
        due = {row.rule: row.due_at for row in session.execute(joined)}
    assert due == {"ng_streak": NOON, "disk": NOON.replace(hour=17)}


def test_what_nobody_acknowledges_is_told_further_once(fleet: Database, clock: Clock) -> None:
    change(fleet, Station, strip="nnnnn")
    watch = Watch(fleet, CONFIG, (LATE,), clock)
    watch.look()
    hear(fleet, clock, 14 * 60)
    watch.look()
    assert messages(fleet) == []
    hear(fleet, clock, 60)
    watch.look()
    watch.look()
    assert messages(fleet) == [("boss", "escalated")]
    change(fleet, Station, strip="nnnnno")
    watch.look()
    hear(fleet, clock, 60)
    watch.look()
    assert messages(fleet) == [("boss", "escalated"), ("boss", "ended")]


def test_what_is_acknowledged_is_not_told_further(fleet: Database, clock: Clock) -> None:
    change(fleet, Station, strip="nnnnn")
    watch = Watch(fleet, CONFIG, (LATE,), clock)
    watch.look()
    change(fleet, Alert, acknowledged_at=NOON)
    hear(fleet, clock, 3600)
    watch.look()
    assert messages(fleet) == []


def test_a_rule_that_is_switched_off_and_a_station_that_is_gone_end_their_alerts(
    fleet: Database, clock: Clock
) -> None:
    change(fleet, Station, strip="nnnnn", ready=False)
    watch = Watch(fleet, CONFIG, (), clock)
    watch.look()
    hear(fleet, clock, 120)
    watch.look()
    assert {rule for rule, _, stands in alerts(fleet) if stands} == {"ng_streak", "not_ready"}
    off = {**DEFAULTS, "ng_streak": Rule("ng_streak", Severity.CRITICAL, 5, 0, enabled=False)}
    with fleet.writing() as session:
        write_plan(session, Plan(off), clock.at)
    watch.look()
    assert {rule for rule, _, stands in alerts(fleet) if stands} == {"not_ready"}
    change(fleet, Station, listed=False)
    watch.look()
    assert [a for a in alerts(fleet) if a[2]] == []


# To people and programs.


@pytest.fixture
def started() -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def start(receiver: Any) -> Any:
        made.append(receiver)
        return receiver

    yield start
    for receiver in made:
        receiver.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "andon.key"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    return file


def begun(database: Database, clock: Clock, channel: Channel) -> None:
    """One alert, with its message for a channel."""
    change(database, Station, strip="nnnnnn")
    Watch(database, CONFIG, (channel,), clock, url="https://qc.plant/").look()


def test_a_webhook_is_told_signed_and_again_under_the_same_key_until_it_has_it(
    fleet: Database, clock: Clock, started: Callable[..., Any], secret: Path
) -> None:
    server = started(receivers.webhook())
    channel = Channel("andon", Webhook(f"http://127.0.0.1:{server.port}/hook?line=2", secret), language="de")
    begun(fleet, clock, channel)
    server.heard.refuse = 2
    deliverer = Deliverer(fleet, channel, UTC, clock)
    assert deliverer.deliver_next()
    assert not deliverer.deliver_next(), "it waits before it tries again"
    with fleet.reading() as session:
        row = session.scalars(select(AlertDelivery)).one()
        assert (row.attempts, "503" in row.trouble) == (1, True)
    clock.at += timedelta(seconds=11)
    assert deliverer.deliver_next()
    clock.at += timedelta(seconds=21)
    assert deliverer.deliver_next()
    clock.at += timedelta(hours=1)
    assert not deliverer.deliver_next()
    [(path, headers, body)] = server.heard.messages
    assert path == "/hook?line=2"
    stamp = headers["X-Lineside-Timestamp"]
    wanted = hmac.new(SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Lineside-Signature"] == f"sha256={wanted}"
    told = json.loads(body)
    assert (told["id"], told["event"], told["rule"]) == (headers["Idempotency-Key"], "began", "ng_streak")
    assert (told["value"], told["place"], told["url"]) == (6, ["", "", "Line 2"], "https://qc.plant/alerts")
    assert told["text"] == "[Alarm] st1 · edge-07: 6 × NG hintereinander"


def test_a_message_that_was_sent_but_not_noted_comes_again_under_its_key(
    fleet: Database, clock: Clock, started: Callable[..., Any], secret: Path
) -> None:
    server = started(receivers.webhook())
    channel = Channel("andon", Webhook(f"http://127.0.0.1:{server.port}/", secret))
    begun(fleet, clock, channel)
    deliverer = Deliverer(fleet, channel, UTC, clock)
    deliverer.deliver_next()
    change(fleet, AlertDelivery, delivered_at=None)  # as a power cut would leave it
    Deliverer(fleet, channel, UTC, clock).deliver_next()
    keys = [headers["Idempotency-Key"] for _, headers, _ in server.heard.messages]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_channel_that_never_answers_keeps_its_messages_for_a_week(
    fleet: Database, clock: Clock, secret: Path
) -> None:
    channel = Channel("andon", Webhook("http://127.0.0.1:1/", secret))
    begun(fleet, clock, channel)
    deliverer = Deliverer(fleet, channel, UTC, clock)
    while clock.at - NOON <= GIVE_UP:
        deliverer.deliver_next()
        with fleet.reading() as session:
            row = session.scalars(select(AlertDelivery)).one()
        assert row.given_up_at is None
        assert timedelta(0) < row.due_at - clock.at <= timedelta(minutes=15)
        clock.at += timedelta(hours=20)
    deliverer.deliver_next()
    with fleet.reading() as session:
        row = session.scalars(select(AlertDelivery)).one()
    assert row.given_up_at == clock.at
    assert "cannot be reached" in row.trouble


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """For localhost, signed by itself."""
    return load("certificates").for_localhost(tmp_path)


def test_mail_goes_out_over_tls_with_a_password_and_one_message_id(
    fleet: Database, clock: Clock, started: Callable[..., Any], secret: Path, certificate: tuple[Path, Path]
) -> None:
    server = started(receivers.mail_server(certificate, SECRET.decode()))
    way = Mail(
        Address("localhost", server.port),
        "starttls",
        "lineside@plant.example",
        ("shift@plant.example", "qa@plant.example"),
        "lineside",
        secret,
        certificate[0],
    )
    channel = Channel("shift", way)
    change(fleet, Station, station="st1\r\nBcc: everybody@plant.example")
    begun(fleet, clock, channel)
    server.heard.refuse = 1
    deliverer = Deliverer(fleet, channel, UTC, clock)
    deliverer.deliver_next()
    clock.at += timedelta(seconds=11)
    deliverer.deliver_next()
    [(sender, to, text)] = server.heard.messages
    assert "lineside@plant.example" in sender
    assert len(to) == 2
    mail = email.message_from_string(text, policy=email.policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[Alert] st1 Bcc: everybody@plant.example · edge-07: 6 NG in a row"
    with fleet.reading() as session:
        row = session.scalars(select(AlertDelivery)).one()
    assert mail["Message-ID"] == f"<{row.message_key}@lineside>"
    assert "https://qc.plant/alerts" in mail.get_content()
    assert row.delivered_at == clock.at


@pytest.mark.parametrize("trouble", ["no TLS", "foreign certificate", "wrong password"])
def test_mail_and_password_go_to_no_server_that_is_not_the_plants(
    fleet: Database,
    clock: Clock,
    started: Callable[..., Any],
    secret: Path,
    certificate: tuple[Path, Path],
    trouble: str,
) -> None:
    server = started(receivers.mail_server(None if trouble == "no TLS" else certificate, "another"))
    trusted = None if trouble == "foreign certificate" else certificate[0]
    way = Mail(
        Address("localhost", server.port), "starttls", "a@x.example", ("b@x.example",), "u", secret, trusted
    )
    channel = Channel("shift", way)
    begun(fleet, clock, channel)
    Deliverer(fleet, channel, UTC, clock).deliver_next()
    with fleet.reading() as session:
        row = session.scalars(select(AlertDelivery)).one()
    assert (row.delivered_at, server.heard.messages) == (None, [])
    assert row.trouble
    assert SECRET.decode() not in row.trouble


def test_recipients_that_are_refused_are_named_and_the_others_get_it_once(
    fleet: Database, clock: Clock, started: Callable[..., Any]
) -> None:
    server = started(receivers.mail_server())
    way = Mail(Address("127.0.0.1", server.port), "none", "a@x.example", ("b@x.example", "nobody@x.example"))
    channel = Channel("shift", way)
    begun(fleet, clock, channel)
    deliverer = Deliverer(fleet, channel, UTC, clock)
    deliverer.deliver_next()
    clock.at += timedelta(hours=1)
    assert not deliverer.deliver_next()
    with fleet.reading() as session:
        assert "nobody@x.example" in session.scalars(select(AlertDelivery.trouble)).one()
    assert len(server.heard.messages) == 1


# The channels' file.


def test_channels_are_read_from_their_file(tmp_path: Path, secret: Path) -> None:
    file = tmp_path / "alerts.toml"
    file.write_text(
        f"""
        [[webhook]]
        name = "andon"
        url = "https://andon.plant.example/hook"
        secret_file = "{secret}"
        least = "warning"
        [[mail]]
        name = "boss"
        server = "mail.plant.example:587"
        sender = "lineside@plant.example"
        to = ["boss@plant.example"]
        user = "lineside"
        password_file = "{secret}"
        escalation = true
        language = "de"
        """
    )
    hook, mail = read_channels(file)
    assert (hook.name, hook.least, hook.escalation) == ("andon", Severity.WARNING, False)
    assert (mail.name, mail.language, mail.way.security) == ("boss", "de", "starttls")
    assert hook.wants(Severity.WARNING, escalated=False)
    assert not hook.wants(Severity.NOTICE, escalated=False)
    assert mail.wants(Severity.CRITICAL, escalated=True)
    assert not mail.wants(Severity.CRITICAL, escalated=False)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("[[pager]]\nname='x'", "none of"),
        ("[[webhook]]\nname='x'", "'url' is missing"),
        ("[[webhook]]\nname='x'\nurl='http://andon.example/'\nsecret_file='SECRET'", "https://"),
        ("[[webhook]]\nname='x'\nurl='https://u:p@andon.example/'\nsecret_file='SECRET'", "without a user"),
        ("[[webhook]]\nname='x'\nurl='https://a.example/'\nsecret_file='/nowhere'", "cannot be read"),
        ("[[webhook]]\nname='x'\nurl='https://a.example/'\nsecret_file='OPEN'", "everybody may read"),
        ("[[webhook]]\nname='x'\nurl='https://a.example/'\nsecret_file='SECRET'\nretries=3", "'retries'"),
        (
            "[[mail]]\nname='x'\nserver='m.example:25'\nsender='a@x'\nto=['b@x']\nsecurity='none'",
            "this machine",
        ),
        ("[[mail]]\nname='x'\nserver='m.example:25'\nsender='a@x'\nto='b@x'", "list of addresses"),
        ("[[mail]]\nname='x'\nserver='m.example:25'\nsender='a@x'\nto=['b@x']\nuser='u'", "belong together"),
        ("name = ", "not TOML"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, secret: Path, words: str, why: str
) -> None:
    public = tmp_path / "open.key"
    public.write_bytes(SECRET)
    public.chmod(0o644)
    file = tmp_path / "alerts.toml"
    file.write_text(words.replace("SECRET", str(secret)).replace("OPEN", str(public)))
    with pytest.raises(RefusedConfiguration, match=why) as refused:
        read_channels(file)
    assert str(file) in str(refused.value)
    assert SECRET.decode() not in str(refused.value)


def test_the_process_that_follows_tells_of_a_device_that_is_not_ready(
    sqlite_files: Any,
    device: Any,
    wait_until: Callable[..., None],
    started: Callable[..., Any],
    secret: Path,
) -> None:
    server = started(receivers.webhook())
    database = Database(sqlite_files.migrated())
    at_once = {kind: Rule(kind, rule.severity, rule.limit, 0) for kind, rule in DEFAULTS.items()}
    with database.writing() as session:
        write_plan(session, Plan(at_once), NOON)
    device.stations["st1"].ready = False
    config = DashboardConfig(
        devices=(Address("127.0.0.1", device.port),), timezone=UTC, silent_after_s=20.0, probe_every_s=0.2
    )
    channel = Channel("andon", Webhook(f"http://127.0.0.1:{server.port}/", secret))
    stopping = threading.Event()
    owner = Owner(database, config, channels=(channel,))
    thread = threading.Thread(target=owner.run, args=(stopping,))
    thread.start()
    try:
        wait_until(lambda: bool(server.heard.messages), "the andon heard of it")
    finally:
        stopping.set()
        thread.join()
        database.close()
    told = json.loads(server.heard.messages[0][2])
    assert (told["rule"], told["subject"]) == ("not_ready", "st1 · edge-07")
    assert [t.name for t in threading.enumerate() if t.name.startswith("alerts")] == []
