"""Looking at the next pictures meanwhile: same answers, same order, and a crash blames the right picture."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_engine import AheadEngine, ScriptedEngine, digest

from lineside.daemon.engine_worker.inbox import pays
from lineside.daemon.engine_worker.messages import EngineProblem, ProblemKind
from lineside.engines.base import Answer

LONG_S = 90.0


def test_the_next_asks_pictures_are_looked_at_while_one_is_answered(open_worker, ask):
    worker = open_worker("AheadEngine", look_ahead="on")

    # The first answer waits until the second ask's picture was looked at as well.
    first, second = worker.submit([ask("wait for looks:2"), ask("look", seed=1)]).result(LONG_S)

    assert first.value == "2"
    assert second.value == digest(ask(seed=1).images)


def test_answers_come_in_the_order_asked_and_are_of_their_own_pictures(open_worker, ask):
    worker = open_worker("AheadEngine", look_ahead="on", in_hand=4)
    asks = [ask("look", seed=seed) for seed in range(40)]

    answers = worker.submit(asks).result(LONG_S)

    assert [answer.value for answer in answers] == [digest(one.images) for one in asks]
    assert worker.status().restarts == 0


def deadly(ask, question: str = "look"):
    """An ask whose picture ends the process as soon as it is looked at."""
    plain = ask(question)
    picture = plain.images[0].copy()
    picture[0, 0] = 1, 2, 3
    return replace(plain, images=(picture,))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_picture_that_ends_the_process_is_set_aside_and_its_neighbours_are_answered(
    open_worker, ask, place
):
    worker = open_worker("AheadEngine", look_ahead="on", in_hand=2)
    asks = [ask("sleep:0.05", seed=seed) for seed in range(5)]
    asks[place] = deadly(ask)

    answers = worker.submit(asks).result(LONG_S)

    culprit = answers.pop(place)
    assert isinstance(culprit, EngineProblem)
    assert culprit.kind is ProblemKind.ENGINE_CRASHED
    del asks[place]
    assert [answer.value for answer in answers] == [digest(one.images) for one in asks]


def test_an_answer_that_ends_the_process_is_set_aside_too(open_worker, ask):
    worker = open_worker("AheadEngine", look_ahead="on", in_hand=2)
    asks = [ask("look", seed=1), ask("kill"), ask("look", seed=2), ask("look", seed=3)]

    before, killer, *after = worker.submit(asks).result(LONG_S)

    assert killer.kind is ProblemKind.ENGINE_CRASHED
    assert all(isinstance(answer, Answer) for answer in (before, *after))
    assert worker.status().restarts == 2


def test_after_a_crash_the_worker_looks_ahead_again(open_worker, ask, tmp_path):
    worker = open_worker("AheadEngine", look_ahead="on")
    worker.submit([ask(f"kill once:{tmp_path / 'mark'}"), ask(seed=1)]).result(LONG_S)

    first, _ = worker.submit([ask("wait for looks:4"), ask(seed=1)]).result(LONG_S)

    assert first.value == "4"


def test_it_pays_only_for_an_engine_that_can_and_leaves_a_core(monkeypatch):
    can = AheadEngine(Path(), runtime="onnxruntime", threads=1)
    every = AheadEngine(Path(), runtime="onnxruntime", threads=None)
    cannot = ScriptedEngine(Path(), runtime="onnxruntime", threads=1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})

    assert pays("auto", can)
    assert not pays("auto", every), "its decoder takes all cores"
    assert not pays("off", can)
    assert pays("on", every)
    assert not pays("on", cannot)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert not pays("auto", can), "the second core is for cameras and storage"
    assert pays("on", can)
    other = AheadEngine(Path(), runtime="onnxruntime", threads=1)
    other.info = replace(other.info, runtime="tensorrt")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert not pays("auto", other), "measured on the processor only"
