"""The Python client that ships (`lineside.v1.client`): real servers that stop, come back, and refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest

from lineside.daemon.pki.identity import Role
from lineside.v1 import devices_pb2, jobs_pb2, recipes_pb2, results_pb2
from lineside.v1.client import CHUNK_BYTES, Client, Failed

DEMO = Path(__file__).parents[3] / "engines" / "demo" / "demo.lsengine"


class Naps:
    """Instead of sleeping: what the client would have waited, and what the test does meanwhile."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.meanwhile: list[Callable[[], object]] = []

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def client_of(naps: Naps) -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def connect(port: int, **options: object) -> Client:
        client = Client(f"127.0.0.1:{port}", sleep=naps, **options)  # type: ignore[arg-type]
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def port_of(serve) -> Callable[..., int]:
    def start(**options: object) -> int:
        server, _ = serve(**options)
        return int(server.port)

    return start


def test_following_goes_on_over_a_restart_with_none_skipped_and_none_twice(
    serve, client_of, results, make, naps: Naps
) -> None:
    server, _ = serve()
    port = server.port
    for number in (1, 2):
        results.add(make(number))
    seen = client_of(port).follow(after_sequence=0)
    first = [next(seen).sequence, next(seen).sequence]
    results.add(make(3))
    server.close(grace_s=0.2)
    results.add(make(4))
    naps.meanwhile.append(lambda: serve(address=f"127.0.0.1:{port}"))
    assert [*first, *(one.sequence for one in islice(seen, 2))] == [1, 2, 3, 4]
    seen.close()


def test_a_wrong_cursor_is_told_and_not_waited_out(port_of, client_of) -> None:
    with pytest.raises(Failed) as failed:
        next(client_of(port_of()).follow(after_sequence=99))
    assert (failed.value.code, failed.value.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_AHEAD")


def test_a_part_is_judged_once_though_the_answer_was_lost(port_of, client_of, appliance, naps: Naps) -> None:
    client = client_of(port_of(), new_id=lambda: "one-id")
    real, lost = client.inspections.Inspect, iter([True])

    class Lost(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> str:
            return "the cable was pulled"

        def trailing_metadata(self) -> None:
            return None

    def flaky(request, timeout):
        answer = real(request, timeout=timeout)
        if next(lost, False):
            raise Lost
        return answer

    client.inspections.Inspect = flaky
    found = client.inspect("st1", part_id="P1", expected={"lot": "L1"})
    assert found.evaluation == results_pb2.RESULT_EVALUATION_OK
    assert [part for _, part, _, _ in appliance.asked] == ["P1"]
    assert len(naps.waited) == 1


def test_a_call_without_a_request_id_gets_one_and_the_callers_message_stays(port_of, client_of) -> None:
    client = client_of(port_of())
    request = jobs_pb2.CreateJobRequest(job=jobs_pb2.Job(job="J1", station="devices/-/stations/st1"))
    assert client.call(client.jobs.CreateJob, request).job.job == "J1"
    assert request.request_id == ""


def test_a_refusal_has_its_reason(port_of, client_of) -> None:
    client = client_of(port_of(local_role=Role.VIEWER))
    request = recipes_pb2.SelectRecipeRequest(
        station="devices/-/stations/st1", recipe="devices/-/recipes/label"
    )
    with pytest.raises(Failed, match="needs the role operator") as failed:
        client.call(client.recipes.SelectRecipe, request)
    assert (failed.value.reason, failed.value.metadata["needed"]) == ("ROLE", "operator")


def test_who_calls_too_often_waits_as_long_as_the_device_says(port_of, client_of, naps: Naps) -> None:
    client = client_of(port_of(rate_per_s=0.5, rate_burst=1.0), attempts=2)
    client.call(client.devices.GetDevice, devices_pb2.GetDeviceRequest())
    with pytest.raises(Failed) as failed:
        client.call(client.devices.GetDevice, devices_pb2.GetDeviceRequest())
    assert failed.value.reason == "RATE"
    assert len(naps.waited) == 1
    assert 1.0 < naps.waited[0] <= 2.001


def test_a_device_that_stays_away_is_given_up_after_all_attempts(client_of, naps: Naps) -> None:
    client = client_of(1, attempts=3)
    with pytest.raises(Failed) as failed:
        client.call(client.devices.GetDevice, devices_pb2.GetDeviceRequest())
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE
    assert naps.waited == [0.2, 0.4]


def test_an_engine_is_sent_from_where_a_transfer_broke_off(port_of, client_of, results, tmp_path) -> None:
    from lineside.engines.bundle import amend_bundle

    bundle = tmp_path / "new.lsengine"
    bundle.write_bytes(DEMO.read_bytes())
    amend_bundle(bundle, lambda manifest: {"version": "9.0.0"})
    data = bundle.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    results.engines.uploads.begin(digest, len(data), 0.0)
    results.engines.uploads.write(digest, 0, data[:1000], 0.0)
    sent: list[int] = []
    client = client_of(port_of(local_role=Role.ADMIN))
    engine = client.install_engine(bundle, progress=lambda at, size: sent.append(at))
    assert engine.version == "9.0.0"
    assert sent[0] == min(1000 + CHUNK_BYTES, len(data))
    assert sent[-1] == len(data)


def test_the_program_in_docs_mes_books_every_result_and_goes_on_from_its_cursor(
    port_of, results, make, tmp_path, monkeypatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "mes.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    port = port_of()
    for number in (1, 2, 3):
        results.add(make(number))
    booked: list[int] = []

    class Crash(Exception):
        pass

    def run_until(last: int) -> None:
        """Runs the page's program, which crashes between booking `last` and noting its cursor."""
        names: dict[str, Any] = {"__name__": "page"}
        exec(program, names)

        def book(inspection: results_pb2.Inspection) -> None:
            booked.append(inspection.sequence)
            if len(booked) >= last:
                raise Crash

        names["book"] = book
        with pytest.raises(Crash):
            names["follow"](f"127.0.0.1:{port}")

    run_until(3)
    results.add(make(4))
    run_until(5)
    assert booked == [1, 2, 3, 3, 4]
    assert (tmp_path / "cursor").read_text() == "3"
