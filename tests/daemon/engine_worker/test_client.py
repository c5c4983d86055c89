"""The engine worker against real processes: answers, refusals, and what callers see of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind
from lineside.daemon.engine_worker.settings import WorkerSettings, WorkerState
from lineside.daemon.engine_worker.shift import Patience
from lineside.daemon.values import ReasonCode
from lineside.engines.base import Answer, Choice, Clip, Count, Free, Prompt, Schema

LONG_S = 90.0
OpenWorker = Callable[..., EngineWorker]
MakeAsk = Callable[..., Ask]
Until = Callable[[Callable[[], object]], None]


def open_descriptors() -> set[str]:
    """This process's file descriptors."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def one(worker: EngineWorker, ask: Ask) -> Answer | EngineProblem:
    """The outcome of a single ask."""
    [outcome] = worker.submit([ask]).result(LONG_S)
    return outcome


def problem(worker: EngineWorker, ask: Ask) -> EngineProblem:
    """The outcome of an ask that has no answer."""
    outcome = one(worker, ask)
    assert isinstance(outcome, EngineProblem)
    return outcome


def test_every_ask_is_answered_about_its_own_picture_in_order(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker()
    outcomes = worker.submit([ask(seed=n, grammar=Free()) for n in range(5)]).result(LONG_S)
    again = [one(worker, ask(seed=n)) for n in range(5)]
    texts = [o.text for o in outcomes if isinstance(o, Answer)]
    assert len(set(texts)) == 5
    assert texts == [o.text for o in again if isinstance(o, Answer)]


def test_a_crop_that_is_a_view_and_a_clip_arrive_as_they_are(open_worker: OpenWorker) -> None:
    worker = open_worker()
    frame = np.arange(40 * 50 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 50, 3)
    view = frame[5:30:2, 8:41][:, ::-1]
    clip = Clip(np.stack([frame, frame[::-1]]), 2.5)
    prompt = Prompt("", "look")
    seen = one(worker, Ask((view, clip), prompt, Free()))
    copied = one(worker, Ask((view.copy(), Clip(clip.frames.copy(), 2.5)), prompt, Free()))
    slower = one(worker, Ask((view, Clip(clip.frames, 2.0)), prompt, Free()))
    assert isinstance(seen, Answer)
    assert isinstance(copied, Answer)
    assert isinstance(slower, Answer)
    assert seen.text == copied.text != slower.text


def test_the_largest_number_of_tokens_reaches_the_engine(open_worker: OpenWorker, ask: MakeAsk) -> None:
    answer = one(open_worker(), ask(max_tokens=17))
    assert isinstance(answer, Answer)
    assert answer.token_ids == (17,)


@pytest.mark.parametrize(
    ("question", "kind", "reason"),
    [
        ("unknown", ProblemKind.UNKNOWN_QUESTION, ReasonCode.ENGINE_ERROR),
        ("bad", ProblemKind.BAD_QUESTION, ReasonCode.ENGINE_ERROR),
        ("long", ProblemKind.PROMPT_TOO_LONG, ReasonCode.ENGINE_ERROR),
        ("undecodable", ProblemKind.UNDECODABLE, ReasonCode.UNDECODABLE),
        ("break", ProblemKind.ENGINE_ERROR, ReasonCode.ENGINE_ERROR),
        ("nan", ProblemKind.UNDECODABLE, ReasonCode.UNDECODABLE),
        ("unpicklable", ProblemKind.ENGINE_ERROR, ReasonCode.ENGINE_ERROR),
    ],
)
def test_an_engine_that_fails_says_why_and_goes_on(
    open_worker: OpenWorker, ask: MakeAsk, question: str, kind: ProblemKind, reason: ReasonCode
) -> None:
    worker = open_worker()
    found = problem(worker, ask(question))
    assert (found.kind, found.reason) == (kind, reason)
    assert isinstance(one(worker, ask()), Answer)
    status = worker.status()
    assert (status.answered, status.failed, status.restarts) == (1, 1, 0)


def test_an_answer_that_the_grammar_does_not_allow_is_none(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker()
    assert isinstance(one(worker, ask("say:ok", grammar=Choice(("ok", "bad")))), Answer)
    assert problem(worker, ask("say:good", grammar=Choice(("ok", "bad")))).kind is ProblemKind.UNDECODABLE
    assert problem(worker, ask("say:3", grammar=Count(0, 9))).kind is ProblemKind.UNDECODABLE


def test_pictures_that_do_not_fit_or_are_none_are_refused(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker(slot_bytes=64 + 24 * 31 * 3)
    assert isinstance(one(worker, ask()), Answer)
    wide = np.zeros((24, 32, 3), np.uint8)
    grey = np.zeros((8, 8), np.uint8)
    dark = np.zeros((8, 8, 3), np.float32)
    for picture in (wide, grey, dark):
        found = problem(worker, Ask((picture,), Prompt(), Free()))  # type: ignore[arg-type]
        assert found.kind is ProblemKind.BAD_IMAGE
    assert isinstance(one(worker, ask()), Answer)


def test_a_question_that_cannot_travel_harms_nobody_else(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker()
    endless = ask("x" * 40_000)
    unpicklable = ask(grammar=Schema({"default": lambda: None}))
    outcomes = worker.submit([endless, unpicklable, ask()]).result(LONG_S)
    assert [type(o) for o in outcomes] == [EngineProblem, EngineProblem, Answer]


def test_warmed_questions_are_prepared_again_in_the_next_process(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path
) -> None:
    worker = open_worker()
    assert worker.warm(Prompt("", "first"), Free()).result(LONG_S) is None
    assert worker.warm(Prompt("", "second"), Free()).result(LONG_S) is None
    assert worker.warm(Prompt("", "second"), Free()).result(LONG_S) is None
    refused = worker.warm(Prompt("", "unknown"), Free()).result(LONG_S)
    assert refused is not None
    assert refused.kind is ProblemKind.UNKNOWN_QUESTION
    assert isinstance(one(worker, ask(f"kill once:{tmp_path / 'mark'}")), Answer)
    warmed = one(worker, ask("warmed"))
    assert worker.status().restarts == 1
    assert isinstance(warmed, Answer)
    assert warmed.text == "first,second"


def test_a_full_backlog_says_so_at_once_and_cancelled_asks_make_room(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path, until: Until
) -> None:
    worker = open_worker(in_hand=1, backlog=2)
    mark = tmp_path / "mark"
    busy = worker.submit([ask(f"mark and hang:{mark}")])
    until(mark.exists)
    waiting = [worker.submit([ask()]), worker.submit([ask()])]
    found = problem(worker, ask())
    assert (found.kind, found.reason) == (ProblemKind.OVERLOADED, ReasonCode.OVERLOADED)
    assert waiting[0].cancel()
    third = worker.submit([ask()])
    assert not third.done()
    assert worker.status().waiting == 2
    worker.close()
    for future in (busy, waiting[1], third):
        [outcome] = future.result(0)
        assert isinstance(outcome, EngineProblem)
        assert outcome.kind is ProblemKind.CLOSED
    assert worker.status().cancelled == 1


def test_a_cancelled_ask_is_not_sent(open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path) -> None:
    worker = open_worker(in_hand=1)
    mark = tmp_path / "mark"
    first = worker.submit([ask("sleep:0.5")])
    given_up = worker.submit([ask(f"mark and hang:{mark}")])
    assert given_up.cancel()
    assert isinstance(one(worker, ask()), Answer)
    assert first.done()
    assert not mark.exists()


def test_what_a_runtime_prints_does_not_mix_with_the_daemons_output(
    open_worker: OpenWorker, ask: MakeAsk, capfd: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(one(open_worker(), ask("print:hello from the runtime")), Answer)
    out, err = capfd.readouterr()
    assert "hello" not in out
    assert err.count("hello from the runtime") == 2


def test_the_status_shows_the_process(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker(threads=1)
    assert worker.wait_until_loaded(LONG_S) is WorkerState.READY
    before = worker.status()
    assert before.last_answer_age_s is None
    one(worker, ask())
    after = worker.status()
    assert after.last_answer_age_s is not None
    assert after.last_answer_age_s < LONG_S
    assert after.pid is not None
    assert Path(f"/proc/{after.pid}/comm").read_text().strip() == "lineside-engine"
    assert after.memory_bytes is not None
    assert after.memory_bytes > 5 * 2**20
    assert worker.info is not None
    assert worker.info.card == {"runtime": "auto", "threads": 1}


def test_before_open_and_after_close_asks_end_as_closed(ask: MakeAsk, tmp_path: Path) -> None:
    worker = EngineWorker(WorkerSettings(tmp_path, factory="scripted_engine:ScriptedEngine"), SystemClock())
    assert worker.state is WorkerState.STOPPED
    assert problem(worker, ask()).kind is ProblemKind.CLOSED
    worker.close()


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in_hand is 9"):
        WorkerSettings(tmp_path, in_hand=9)
    with pytest.raises(ValueError, match="two heartbeats"):
        WorkerSettings(tmp_path, heartbeat_s=9.0, patience=Patience(1.0, 1.0, 10.0))


def test_close_ends_the_engine_in_order_and_leaves_nothing_behind(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path, alive: Callable[[int], bool]
) -> None:
    descriptors = open_descriptors()
    worker = open_worker()
    one(worker, ask())
    pid = worker.status().pid
    assert pid is not None
    worker.close()
    worker.close()
    assert (tmp_path / "closed").exists()
    assert not alive(pid)
    assert worker.state is WorkerState.STOPPED
    assert "engine-supervisor" not in {thread.name for thread in threading.enumerate()}
    assert open_descriptors() == descriptors
    assert problem(worker, ask()).kind is ProblemKind.CLOSED
