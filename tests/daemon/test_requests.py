"""A call with a `request_id` has its effect once: at the same moment, later, and after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.requests import Requests, digest_of
from lineside.daemon.store import Store
from lineside.daemon.store.desk import Desk
from lineside.daemon.store.requests import RequestReused
from lineside.daemon.values import Intake, RecipeRef, TriggerKind

INTAKE = Intake(
    result_id="",
    station="st1",
    camera="cam1",
    part_id="P1",
    part_id_given=True,
    trigger=TriggerKind.GRPC,
    triggered_at=datetime(2026, 3, 1, tzinfo=UTC),
    boot_id="boot",
    frame_index=1,
    recipe=RecipeRef("cap", 1, "11" * 32),
    expected={},
)
DIGEST = digest_of("P1", {"lot": "L1"})


class Line:
    """A station that accepts a part at each trigger, over the real store."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.store = Store.open(folder, device="box1", clock=self.clock)
        self.requests = Requests(self.store.accept, Desk(self.store, self.clock).outcome)
        self.accepted: list[str] = []

    def trigger(self) -> str:
        result_id = self.clock.new_id()
        self.requests.accept(replace(INTAKE, result_id=result_id)).result(60)
        self.accepted.append(result_id)
        return result_id

    def ask(self, request_id: str | None, digest: str = DIGEST) -> str:
        return self.requests.once("st1", request_id, digest, self.trigger)


@pytest.fixture
def line_of(tmp_path: Path) -> Iterator[Callable[[], Line]]:
    opened: list[Line] = []

    def start() -> Line:
        for line in opened:
            line.store.close()
        opened.append(Line(tmp_path / "store"))
        return opened[-1]

    yield start
    opened[-1].store.close()


def test_the_same_call_gives_the_same_part_also_after_a_restart(line_of: Callable[[], Line]) -> None:
    first = line_of()
    part = first.ask("one")
    assert first.ask("one") == part
    again = line_of()
    assert again.ask("one") == part
    assert again.accepted == []
    assert again.ask("two") != part


def test_callers_at_the_same_moment_share_one_part(line_of: Callable[[], Line]) -> None:
    line, together = line_of(), threading.Barrier(8)

    def ask() -> str:
        together.wait()
        return line.ask("one")

    with ThreadPoolExecutor(8) as pool:
        parts = {future.result() for future in [pool.submit(ask) for _ in range(8)]}
    assert len(parts) == len(line.accepted) == 1


def test_an_id_used_for_another_part_is_refused_before_and_after_a_restart(
    line_of: Callable[[], Line],
) -> None:
    other = digest_of("P2", {"lot": "L1"})
    line = line_of()
    line.ask("one")
    for now in (line, line_of()):
        with pytest.raises(RequestReused):
            now.ask("one", other)


def test_without_an_id_each_call_is_a_part(line_of: Callable[[], Line]) -> None:
    line = line_of()
    assert line.ask(None) != line.ask("")


def test_a_trigger_that_fails_is_not_remembered(line_of: Callable[[], Line]) -> None:
    line = line_of()

    def refuse() -> str:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        line.requests.once("st1", "one", DIGEST, refuse)
    assert line.ask("one") in line.accepted
