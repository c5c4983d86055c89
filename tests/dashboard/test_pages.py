"""Pages as a browser without scripts gets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from flask.testing import FlaskClient

Clients = Callable[..., FlaskClient]
Wait = Callable[[Callable[[], bool], str], None]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&\u202e"


def page(client: FlaskClient, path: str = "/stations/edge-07/st1", **options: Any) -> str:
    answer = client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_newest_part_is_shown_with_all_that_was_answered(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    device.store(make.inspection(1))
    device.store(make.inspection(2, make.NOT_OK, label="cracked"), frame=make.JPEG)
    html = page(client_for(device))
    for words in (
        "part-0002",
        "NG",
        "cracked",
        "0.97",
        "0.03",
        "38 of 400 ms",
        "tray-check v7",
        "qc@3",
        "Ready",
    ):
        assert words in html
    assert html.count('<li class="cell ') == 2
    assert hashlib.sha256(make.JPEG).hexdigest() in html
    assert '<meta http-equiv="refresh"' in html


def test_the_first_page_has_a_row_for_every_station(make: ModuleType, client_for: Clients) -> None:
    one, two = make.ScriptedDevice("edge-01"), make.ScriptedDevice("edge-02", ("a", "b"))
    for device in (one, two):
        device.start()
    try:
        html = page(client_for(one, two), "/")
        assert html.count('<tr class="live"') == 3
        for link in ("/stations/edge-01/st1", "/stations/edge-02/a", "/stations/edge-02/b"):
            assert link in html
        assert "Nothing needs attention." in html
    finally:
        one.stop()
        two.stop()


def test_what_a_device_says_is_never_markup(device: Any, make: ModuleType, client_for: Clients) -> None:
    bad = make.inspection(1, make.NOT_OK, part_id=HOSTILE, label=HOSTILE)
    bad.reasons[0].message = HOSTILE
    bad.recipe.recipe = HOSTILE
    bad.expected["lot" + HOSTILE] = HOSTILE
    bad.outcomes[0].ask = HOSTILE
    device.store(bad, frame=make.JPEG, crops={HOSTILE: make.JPEG})
    device.stations["st1"].ready = False
    device.stations["st1"].not_ready_because.append(HOSTILE)
    device.recipe_text = f"ask: [{{id: {json.dumps(HOSTILE)}, question: {json.dumps(HOSTILE)}}}]"
    client = client_for(device)
    with client.get("/stations/edge-07/st1/events", buffered=False) as stream:
        chunks = iter(stream.response)
        events = "".join(next(chunks).decode() for _ in range(3))
    told = "".join(
        str(part)
        for line in events.splitlines()
        if line.startswith("data: ")
        for part in json.loads(line[6:]).values()
    )
    for html in (page(client), page(client, f"/results/{bad.result_id}"), page(client, "/?more=1"), told):
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "\u202e" not in html


@pytest.mark.parametrize(
    "path", ["/", "/stations/edge-07/st1", "/nowhere", "/static/wall.js", "/stations/edge-07/none"]
)
def test_every_answer_forbids_what_is_not_ours(device: Any, client_for: Clients, path: str) -> None:
    with client_for(device).get(path) as answer:
        headers = answer.headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert (
        "'self'" == policy["script-src"] == policy["style-src"] == policy["img-src"] == policy["connect-src"]
    )
    assert "'none'" == policy["frame-ancestors"] == policy["base-uri"]
    assert policy["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_silent_device_is_grey_and_says_so_and_is_not_ready(
    device: Any, make: ModuleType, client_for: Clients, wait_until: Wait
) -> None:
    device.store(make.inspection(1))
    client = client_for(device)
    assert '<body class="wall live"' in page(client)
    device.stop()
    wait_until(lambda: '<body class="wall silent"' in page(client), "the page is grey")
    html = page(client)
    assert "No word from the device for" in html
    assert "systemctl status linesided" in html
    assert "<strong>Ready</strong>" not in html
    assert '<tr class="silent"' in page(client, "/")


def test_an_old_verdict_is_the_last_and_not_the_present(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    device.store(make.inspection(1, when=datetime.now(UTC) - timedelta(minutes=8)))
    html = page(client_for(device))
    assert 'class="verdict ok quiet"' in html
    assert "8 min" in html


def test_not_ready_says_why(device: Any, client_for: Clients) -> None:
    device.stations["st1"].ready = False
    device.stations["st1"].not_ready_because.extend(["camera cam1 delivers nothing", "engine starting"])
    html = page(client_for(device))
    assert "Not ready because camera cam1 delivers nothing; engine starting" in html


def test_a_station_without_parts_and_a_device_never_heard_have_pages_of_their_own(
    device: Any, make: ModuleType, client_for: Clients, wait_until: Wait
) -> None:
    assert "No part has been judged at st1 yet" in page(client_for(device))
    absent = make.ScriptedDevice("edge-09")
    absent.start()
    absent.stop()
    client = client_for(absent)
    wait_until(lambda: f"127.0.0.1:{absent.port}" in page(client, "/"), "the device is listed")
    assert "Not heard yet" in page(client, "/")
    html = page(client, f"/stations/127.0.0.1:{absent.port}/st1")
    assert f"Not heard from 127.0.0.1:{absent.port} yet" in html


def test_a_result_page_has_everything_and_is_found_by_its_id_alone(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    stored = device.store(make.inspection(1, make.NOT_OK, label="cracked"), frame=make.JPEG)
    client = client_for(device)
    html = page(client, f"/results/{stored.result_id}")
    for words in (
        stored.result_id,
        "ab" * 32,
        "cd" * 32,
        "ef" * 32,
        "01" * 32,
        "0.9700",
        "vision",
        "9.1",
        "FINDING",
        "defect",
    ):
        assert words in html
    for n in range(2, 70):
        device.store(make.inspection(n))
    assert "part-0001" in page(client, f"/results/{stored.result_id}")


def test_a_result_nobody_has_and_one_nobody_can_be_asked_for(
    device: Any, client_for: Clients, wait_until: Wait
) -> None:
    client = client_for(device)
    answer = client.get("/results/0190aaaa-0000-7000-8000-000000000999")
    assert answer.status_code == 404
    assert "No device has a result of this id" in answer.text
    device.stop()
    wait_until(lambda: client.get("/results/0190aaaa").status_code == 503, "the device is asked in vain")


def test_evidence_is_served_once_fetched_and_refused_when_it_is_not_what_its_hash_says(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    stored = device.store(make.inspection(1), frame=make.JPEG)
    other = device.store(make.inspection(2), frame=make.JPEG + b"\x00")
    client = client_for(device)
    path = f"/devices/edge-07/evidence/{stored.evidence[0].evidence_id}"
    for _ in range(3):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/jpeg", make.JPEG)
    assert device.evidence_calls == 1
    assert "immutable" in answer.headers["Cache-Control"]
    forged = other.evidence[0].evidence_id
    device.tamper(forged, make.JPEG + b"\x01")
    assert client.get(f"/devices/edge-07/evidence/{forged}").status_code == 502
    assert client.get(f"/devices/edge-07/evidence/{'0' * 64}").status_code == 404
    assert client.get("/devices/edge-07/evidence/..%2f..%2fetc").status_code == 404


def test_a_picture_that_is_no_picture_is_never_served(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    stored = device.store(make.inspection(1), frame=b"<svg onload=alert(1)>")
    assert (
        client_for(device).get(f"/devices/edge-07/evidence/{stored.evidence[0].evidence_id}").status_code
        == 502
    )


def test_frames_come_from_the_device_and_only_for_its_cameras(device: Any, client_for: Clients) -> None:
    client = client_for(device)
    answer = client.get("/devices/edge-07/cameras/cam1/frame")
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Lineside-Frame-Age-Ms"] == "40"
    assert client.get("/devices/edge-07/cameras/cam9/frame").status_code == 404
    device.frame = b"not a jpeg"
    device.stop()


@pytest.mark.parametrize(
    "path", ["/stations/edge-07/nope", "/stations/nope/st1", "/devices/nope/cameras/c/frame", "/x"]
)
def test_what_does_not_exist_says_so_and_leads_back(device: Any, client_for: Clients, path: str) -> None:
    answer = client_for(device).get(path)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert 'href="/"' in answer.text


def test_pages_are_for_reading_only(device: Any, client_for: Clients) -> None:
    client = client_for(device)
    for method in (client.post, client.put, client.delete):
        assert method("/stations/edge-07/st1").status_code in (400, 405)


def test_another_sites_name_for_this_machine_opens_nothing(device: Any, client_for: Clients) -> None:
    client = client_for(device)
    assert client.get("/", headers={"Host": "attacker.example:8088"}).status_code == 400
    assert client.get("/sign-in", headers={"Host": "127.0.0.1:8088"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:9999"}).status_code == 200


def test_german_by_the_browser_by_address_and_by_memory(
    device: Any, make: ModuleType, client_for: Clients
) -> None:
    device.store(make.inspection(1, make.NOT_DECIDABLE))
    client = client_for(device)
    assert "Bereit" in page(client, headers={"Accept-Language": "de-AT,en;q=0.5"})
    assert "Ready" in page(client, headers={"Accept-Language": "fr"})
    html = page(client, "/stations/edge-07/st1?lang=de")
    assert '<html lang="de">' in html
    assert "Prüfen" in html
    assert "0,97" in html
    assert "Bereit" in page(client)


def test_a_stream_resumes_after_the_last_event_the_browser_saw(
    device: Any, make: ModuleType, client_for: Clients, wait_until: Wait
) -> None:
    for n in range(1, 6):
        device.store(make.inspection(n))
    client = client_for(device)

    def told(**options: Any) -> list[str]:
        with client.get("/stations/edge-07/st1/events", buffered=False, **options) as stream:
            assert stream.mimetype == "text/event-stream"
            chunks = iter(stream.response)
            return [next(chunks).decode() for _ in range(2)]

    retry, first = told()
    assert retry.startswith("retry: ")
    assert first.startswith("id: 5\nevent: results\n")
    assert json.loads(first.split("data: ", 1)[1])["count"] == 5
    _, second = told(headers={"Last-Event-ID": "3"})
    resumed = json.loads(second.split("data: ", 1)[1])
    assert (resumed["count"], resumed["reset"]) == (2, False)
    assert "part-0004" in resumed["cells"]
    assert "part-0003" not in resumed["cells"]
    _, third = told(headers={"Last-Event-ID": "5"})
    assert third.startswith("event: now\n")


def test_live_pages_beyond_the_bound_are_told_to_come_later(device: Any, client_for: Clients) -> None:
    client = client_for(device, most_live_pages=1)
    with client.get("/stations/edge-07/st1/events", buffered=False):
        refused = client.get("/stations/edge-07/st1/events")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    with client.get("/events", buffered=False) as again:
        assert again.status_code == 200


def test_a_device_whose_clock_is_wrong_is_noted(device: Any, client_for: Clients) -> None:
    device.clock_synchronised = False
    assert "clock is not synchronised" in page(client_for(device))
