"""What a plant sees of a device beside its verdicts: there, gone, lost; its stations; its numbers."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lineside.daemon.reporting.options import Broker, BrokerTls

pytestmark = pytest.mark.broker
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def check(payload: bytes, schema: str) -> dict:
    value = json.loads(payload)
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text())).validate(value)
    return value


def state_of(subscriber, topics) -> str | None:
    heard = subscriber.on(topics.status)
    return json.loads(heard[-1].payload)["state"] if heard else None


def test_online_lost_online_offline(broker, relay_to, subscribe, report, topics, until):
    subscriber = subscribe(broker.port)
    relay = relay_to(broker.port)
    reporter = report(relay.port)
    until(lambda: state_of(subscriber, topics) == "online")
    relay.cut()
    until(lambda: state_of(subscriber, topics) == "lost")
    relay.mend()
    until(lambda: state_of(subscriber, topics) == "online")
    reporter.close()
    until(lambda: state_of(subscriber, topics) == "offline")
    states = [check(each.payload, "status")["state"] for each in subscriber.on(topics.status)]
    assert states[-1] == "offline"
    assert "lost" not in states[states.index("lost") + 1 :]  # a planned stop is not spoken of as a loss


def test_who_comes_later_finds_status_and_stations_retained(broker, subscribe, report, topics, until):
    first = subscribe(broker.port)
    report(broker.port)
    until(lambda: first.on(topics.state("st1")) and first.on(topics.state("st2")) and first.on(topics.status))
    late = subscribe(broker.port)
    until(lambda: late.on(topics.state("st1")) and late.on(topics.status))
    status = late.on(topics.status)[0]
    assert status.retained
    assert check(status.payload, "status")["rpc_address"] == "127.0.0.1:50051"
    assert status.user == {"schema": "lineside.status/1"}


def test_a_station_that_ceases_to_be_ready_is_told_of(broker, subscribe, report, appliance, topics, until):
    subscriber = subscribe(broker.port)
    report(broker.port)
    until(lambda: subscriber.on(topics.state("st1")))
    assert check(subscriber.on(topics.state("st1"))[-1].payload, "station")["ready"] is True
    appliance.ready = False
    until(lambda: check(subscriber.on(topics.state("st1"))[-1].payload, "station")["ready"] is False)


def test_metrics_and_alerts_are_as_their_schemas_say(broker, subscribe, report, topics, until):
    subscriber = subscribe(broker.port)
    reporter = report(broker.port)
    reporter.alert("CAMERA_GONE", "camera cam1 gives no frames", None)
    until(lambda: subscriber.on(topics.metrics) and subscriber.on(topics.alert))
    metrics = subscriber.on(topics.metrics)[0]
    assert check(metrics.payload, "metrics")["outbox_depth"] == {"mqtt": 3}
    assert metrics.properties.MessageExpiryInterval <= 60
    assert check(subscriber.on(topics.alert)[0].payload, "alert")["code"] == "CAMERA_GONE"


def test_alerts_raised_without_a_broker_are_told_when_there_is_one(
    brokers, subscribe, report, relay_to, topics, until
):
    broker = brokers()
    relay = relay_to(broker.port)
    relay.cut()
    reporter = report(relay.port)
    for number in range(130):
        reporter.alert("EVIDENCE_LOST", f"number {number}", f"r{number}")
    broker.start()
    subscriber = subscribe(broker.port)
    relay.mend()
    until(lambda: len(subscriber.on(topics.alert)) == 100)
    kept = [check(each.payload, "alert")["result_id"] for each in subscriber.on(topics.alert)]
    assert kept == [f"r{number}" for number in range(30, 130)]  # bounded: the newest hundred


def test_a_verdict_is_as_its_schema_says(broker, subscribe, report, line, topics, until):
    subscriber = subscribe(broker.port)
    report(broker.port)
    line.judge(6)
    until(lambda: len(subscriber.ending("/verdict")) == 6)
    verdicts = {check(each.payload, "result")["verdict"] for each in subscriber.ending("/verdict")}
    assert verdicts == {"OK", "NOT_OK", "NOT_DECIDABLE"}


def test_a_password_is_read_anew_at_every_try(brokers, subscribe, report, line, tmp_path, until):
    accounts = tmp_path / "accounts"
    accounts.write_text(password_line("box7", "right"))
    broker = brokers()
    broker.start(f"password_file {accounts}")
    subscriber = subscribe(broker.port)
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    reporter = report(Broker("127.0.0.1", broker.port, username="box7", password_file=secret))
    until(lambda: "refused" in reporter.last_error)
    secret.write_text("right\n")
    line.judge(1)
    until(lambda: len(subscriber.ending("/verdict")) == 1)


def password_line(user: str, password: str) -> str:
    """A line of Mosquitto's password file: PBKDF2-SHA512 in its own notation."""
    salt = b"twelve bytes"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def test_a_missing_password_file_is_trouble_and_not_the_end(broker, subscribe, report, line, tmp_path, until):
    secret = tmp_path / "secret"
    subscriber = subscribe(broker.port)
    reporter = report(Broker("127.0.0.1", broker.port, username="box7", password_file=secret))
    until(lambda: "secret" in reporter.last_error)
    secret.write_text("anything")
    line.judge(1)
    until(lambda: len(subscriber.ending("/verdict")) == 1)


def test_over_tls_the_device_shows_its_certificate_and_trusts_only_the_plants_broker(
    brokers, subscribe, report, line, tmp_path, until, certificates
):
    plant = certificates(tmp_path, "plant")
    broker_crt, broker_key = plant.issue("broker")
    device_crt, device_key = plant.issue("box7")
    broker = brokers()
    secure = brokers()  # only its port is used
    broker.start(
        f"listener {secure.port} 127.0.0.1",
        f"cafile {plant.file}",
        f"certfile {broker_crt}",
        f"keyfile {broker_key}",
        "require_certificate true",
    )
    subscriber = subscribe(broker.port)
    other = certificates(tmp_path, "other")
    stranger = report(Broker("127.0.0.1", secure.port, tls=BrokerTls(ca=other.file)))
    until(lambda: "certificate verify failed" in stranger.last_error)
    stranger.close()
    tls = BrokerTls(ca=plant.file, certificate=device_crt, key=device_key)
    report(Broker("127.0.0.1", secure.port, tls=tls))
    line.judge(1)
    until(lambda: len(subscriber.ending("/verdict")) == 1)
