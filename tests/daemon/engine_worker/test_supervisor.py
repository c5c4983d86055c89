"""What happens to asks when the engine process dies, hangs or cannot be started: real ones, really killed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from lineside.daemon.engine_worker.client import EngineWorker
from lineside.daemon.engine_worker.messages import Ask, EngineProblem, ProblemKind
from lineside.daemon.engine_worker.restarts import RestartPolicy
from lineside.daemon.engine_worker.settings import WorkerState
from lineside.daemon.engine_worker.shift import Patience
from lineside.daemon.values import ReasonCode
from lineside.engines.base import Answer, Free, Prompt

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


def test_an_ask_in_a_killed_process_is_answered_by_the_next(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path
) -> None:
    worker = open_worker()
    outcomes = worker.submit(
        [ask(seed=1), ask(f"kill once:{tmp_path / 'mark'}", seed=2), ask(seed=3)]
    ).result(LONG_S)
    expected = [one(worker, ask(seed=n)) for n in (1, 2, 3)]
    assert [o.text for o in outcomes if isinstance(o, Answer)] == [
        o.text for o in expected if isinstance(o, Answer)
    ]
    assert worker.status().restarts == 1


def test_an_ask_that_kills_two_processes_is_set_aside_alone(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker()
    before, killer, after = worker.submit([ask(seed=1), ask("kill"), ask(seed=2)]).result(LONG_S)
    assert isinstance(before, Answer)
    assert isinstance(after, Answer)
    assert isinstance(killer, EngineProblem)
    assert (killer.kind, killer.reason) == (ProblemKind.ENGINE_CRASHED, ReasonCode.ENGINE_CRASHED)
    assert "SIGKILL" in killer.message
    status = worker.status()
    assert (status.state, status.restarts) == (WorkerState.READY, 2)
    assert (status.answered, status.failed) == (2, 1)


def test_a_segmentation_fault_stays_in_the_engine_process(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker()
    outcome = one(worker, ask("segfault"))
    assert isinstance(outcome, EngineProblem)
    assert outcome.kind is ProblemKind.ENGINE_CRASHED
    assert "SIGSEGV" in outcome.message
    assert isinstance(one(worker, ask()), Answer)


def test_a_process_that_hangs_at_an_ask_is_replaced(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker(patience=Patience(start_s=LONG_S, answer_s=1.0, idle_s=LONG_S))
    for question in ("sleep:3600", "freeze"):
        outcome = one(worker, ask(question))
        assert isinstance(outcome, EngineProblem)
        assert outcome.kind is ProblemKind.ENGINE_CRASHED
        assert "did not answer within 1 s" in outcome.message
    assert isinstance(one(worker, ask()), Answer)


def test_a_process_stopped_while_idle_is_replaced(
    open_worker: OpenWorker, until: Until, ask: MakeAsk
) -> None:
    worker = open_worker(patience=Patience(start_s=LONG_S, answer_s=LONG_S, idle_s=2.0))
    worker.wait_until_loaded(LONG_S)
    pid = worker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: worker.status().restarts >= 1)
    assert isinstance(one(worker, ask()), Answer)


def test_an_engine_that_only_fails_is_replaced(open_worker: OpenWorker, ask: MakeAsk, until: Until) -> None:
    worker = open_worker()
    outcomes = worker.submit([ask("break"), ask("break"), ask("break"), ask()]).result(LONG_S)
    assert [type(o) for o in outcomes] == [EngineProblem, EngineProblem, EngineProblem, Answer]
    assert worker.status().restarts == 1


def test_a_warm_up_that_kills_is_told_to_its_caller_and_not_tried_again(
    open_worker: OpenWorker, ask: MakeAsk
) -> None:
    worker = open_worker()
    outcome = worker.warm(Prompt("", "kill"), Free()).result(LONG_S)
    assert outcome is not None
    assert outcome.kind is ProblemKind.ENGINE_CRASHED
    assert isinstance(one(worker, ask()), Answer)
    assert worker.status().restarts == 2


def test_a_warmed_question_that_begins_to_kill_is_forgotten(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path
) -> None:
    worker = open_worker()
    charm = tmp_path / "charm"
    charm.touch()
    assert worker.warm(Prompt("", "harmless"), Free()).result(LONG_S) is None
    assert worker.warm(Prompt("", f"kill unless:{charm}"), Free()).result(LONG_S) is None
    charm.unlink()
    assert isinstance(one(worker, ask("kill")), EngineProblem)
    warmed = one(worker, ask("warmed"))
    assert isinstance(warmed, Answer)
    assert warmed.text == "harmless"
    # Two for the ask, two for the warmed question.
    assert worker.status().restarts == 4


def test_a_damaged_bundle_fails_at_once_with_its_reason(open_worker: OpenWorker, ask: MakeAsk) -> None:
    worker = open_worker("damaged", restarts=RestartPolicy(first_s=0.01, max_s=LONG_S, start_attempts=3))
    waiting = worker.submit([ask(), ask()])
    assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
    status = worker.status()
    assert "DamagedBundle: onnx/decoder.onnx differs" in status.detail
    assert status.restarts == 0
    for outcome in [*waiting.result(LONG_S), one(worker, ask())]:
        assert isinstance(outcome, EngineProblem)
        assert outcome.kind is ProblemKind.NOT_LOADED


def test_an_engine_that_cannot_be_loaded_now_is_loaded_when_it_can(
    open_worker: OpenWorker, ask: MakeAsk, tmp_path: Path, until: Until
) -> None:
    bundle = tmp_path / "bundle"
    worker = open_worker("mended", bundle=bundle)
    assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
    assert "no GPU memory left" in worker.status().detail
    bundle.touch()
    until(lambda: worker.state is WorkerState.READY)
    assert isinstance(one(worker, ask()), Answer)


def test_a_process_that_dies_or_hangs_while_loading_fails_after_some_tries(open_worker: OpenWorker) -> None:
    for factory in ("dies_loading", "hangs_loading"):
        worker = open_worker(factory, patience=Patience(start_s=2.0, answer_s=LONG_S, idle_s=LONG_S))
        assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
        assert worker.status().restarts == 2
        worker.close()


def test_a_factory_that_does_not_exist_is_named(open_worker: OpenWorker) -> None:
    worker = open_worker("nonesuch")
    assert worker.wait_until_loaded(LONG_S) is WorkerState.FAILED
    assert "nonesuch" in worker.status().detail


def test_a_bundle_exchanged_under_the_running_engine_is_not_used(
    open_worker: OpenWorker, ask: MakeAsk
) -> None:
    worker = open_worker("another_every_time")
    first = worker.wait_until_loaded(LONG_S)
    info = worker.info
    outcome = one(worker, ask("kill"))
    assert first is WorkerState.READY
    assert isinstance(outcome, EngineProblem)
    assert outcome.kind is ProblemKind.NOT_LOADED
    assert "bundle changed" in outcome.message
    assert worker.info == info


def test_a_thousand_asks_survive_random_kills_and_each_resolves_once(
    open_worker: OpenWorker, ask: MakeAsk, alive: Callable[[int], bool]
) -> None:
    descriptors = open_descriptors()
    patient = RestartPolicy(first_s=0.01, max_s=0.05, start_attempts=1000)  # it is killed while loading, too
    worker = open_worker(backlog=1000, restarts=patient)
    chance = random.Random(7)
    resolved: Counter[int] = Counter()
    futures: list[Future[list[Answer | EngineProblem]]] = []
    pids: set[int] = set()

    def note(number: int) -> Callable[[object], None]:
        return lambda _: resolved.update([number])

    for number in range(1000):
        futures.append(worker.submit([ask(f"sleep:{chance.choice((0, 0.001, 0.004))}", seed=number % 50)]))
        futures[-1].add_done_callback(note(number))
    done = threading.Event()
    futures[-1].add_done_callback(lambda _: done.set())
    kills = 0
    while not done.wait(chance.uniform(0.02, 0.5)):
        pid = worker.status().pid
        if pid is not None and kills < 20:
            pids.add(pid)
            os.kill(pid, signal.SIGKILL)
            kills += 1
    outcomes = [future.result(LONG_S)[0] for future in futures]
    expected: dict[int, str] = {}
    for number in range(50):
        answer = one(worker, ask(seed=number))
        assert isinstance(answer, Answer)
        expected[number] = answer.text
    assert kills > 0
    assert resolved == Counter(range(1000))
    lost = 0
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Answer):
            assert outcome.text == expected[number % 50]
        else:
            assert outcome.kind is ProblemKind.ENGINE_CRASHED
            lost += 1
    # Only two kills at the very same ask set it aside.
    assert lost <= kills // 2
    worker.close()
    assert not any(alive(pid) for pid in pids)
    assert open_descriptors() == descriptors
