"""Looking at pictures in a second thread: no bit of an answer changes, and the vision pass is done once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from lineside.engines.base import Choice, Clip, Count, LooksAhead, Prompt
from lineside.engines.errors import BadImage
from lineside.engines.open import Engine

CAP = Prompt("Is the cap on straight?")
GRAMMAR = Choice(("ok", "missing", "tilted"))


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [rng.integers(0, 256, (32, 48, 3), np.uint8) for _ in range(count)]


def said(answer) -> tuple[object, ...]:
    return answer.value, dict(answer.probabilities), answer.token_ids


def test_the_vision_pass_is_done_once_and_its_time_is_told_with_the_question(engine):
    assert isinstance(engine, LooksAhead)
    seen: list[object] = []
    vision = engine._parts.vision
    run = vision.run
    vision.run = lambda *given: (seen.append(given), run(*given))
    (picture,) = pictures(1)

    engine.look_ahead([picture])
    first = engine.answer([picture], CAP, GRAMMAR)
    again = engine.answer([picture], CAP, GRAMMAR)

    assert len(seen) == 1
    assert first.timings.vision > again.timings.vision
    assert said(first) == said(again)


def test_answers_are_the_same_to_the_last_bit_with_a_thread_that_looks_ahead(bundle: Path, engine):
    parts = pictures(12)
    with Engine.open(bundle, threads=1) as alone:
        expected = [
            said(alone.answer([part], CAP, grammar)) for part in parts for grammar in (GRAMMAR, Count(0, 9))
        ]
    looked = [threading.Event() for _ in parts]

    def ahead() -> None:
        for part, done in zip(parts, looked, strict=True):
            engine.look_ahead([part])
            done.set()

    thread = threading.Thread(target=ahead)
    thread.start()
    found = []
    for part, done in zip(parts, looked, strict=True):
        done.wait(60)
        found += [said(engine.answer([part], CAP, grammar)) for grammar in (GRAMMAR, Count(0, 9))]
    thread.join()

    assert found == expected


def test_a_picture_looked_at_ahead_has_not_come_before(bundle: Path):
    """A reference is worth keeping states after once it came twice; looking ahead is no coming."""
    reference, part = pictures(2)
    with Engine.open(bundle, threads=1) as plain, Engine.open(bundle, threads=1) as ahead:
        kept = []
        for engine in (plain, ahead):
            if engine is ahead:
                engine.look_ahead([reference, part])
            engine.answer([reference, part], CAP, GRAMMAR)
            kept.append(engine._parts.reader.tree.size_bytes)

    assert kept[0] == kept[1]


def test_a_clip_can_be_looked_at_ahead_and_what_is_no_picture_is_refused(engine):
    clip = Clip(np.stack(pictures(4)), 2.0)
    engine.look_ahead([clip])

    assert said(engine.answer([clip], CAP, GRAMMAR)) == said(engine.answer([clip], CAP, GRAMMAR))
    with pytest.raises(BadImage):
        engine.look_ahead([np.zeros((4, 4), np.uint8)])
