"""The decision core under whatever comes: one verdict a trigger, no OK that nothing sound has said.

`LINESIDE_TRIGGERS` sets how many (3,000 when it is not set), `LINESIDE_TRIGGER_SEED` which.
"""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog
from inspection_doubles import RECIPE, HeldClock, ScriptedEngine, answer

from lineside.daemon.engine_worker.messages import EngineProblem
from lineside.daemon.inspection import station as station_module
from lineside.daemon.inspection.inspect import Inspector
from lineside.daemon.inspection.job import Job
from lineside.daemon.inspection.part_numbers import PartNumbers
from lineside.daemon.inspection.plan import make_plan
from lineside.daemon.inspection.station import Station
from lineside.daemon.outputs.station_outputs import StationOutputs
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.store.errors import StoreBusy
from lineside.daemon.store.records import check_draft
from lineside.daemon.values import Frame, Reason, ReasonCode, Result, ResultDraft, TriggerKind, Verdict
from lineside.engines.base import Answer

TRIGGERS = int(os.environ.get("LINESIDE_TRIGGERS", "3000"))
SEED = int(os.environ.get("LINESIDE_TRIGGER_SEED", "1"))
CAP, CODE = "Is the cap on?", "Read the code."
LEAN = RECIPE.replace("OK: 100%", "OK: 0%, NOT_OK: 0%, NOT_DECIDABLE: 0%")
OTHER = LEAN.replace("recipe: cap-check", "recipe: cap-check-b").replace(
    "deadline_ms: 400", "deadline_ms: 300"
)
CONFIDENCES = [0.999, 0.99, 0.97, 0.5, 0.01, 0.0, -1.0, 1.5, math.nan, math.inf, -math.inf]
CAPS = [
    "ok",
    "missing",
    "",
    "OK",
    "okay",
    "ok ",
    "\0",
    "tilted",
    7,
    None,
    1.0,
    True,
    ["ok"],
    {"answer": "ok"},
]
CODES = ["A123", "B000", "a123", "A12", "A1234", "A123\n", "", "💥", 123, None, math.nan]


def odd_answer(chance: random.Random, values: list[object]) -> Answer | EngineProblem | None:
    """What an engine may come with: sound, unsure, garbage, NaN, a problem, or nothing by the deadline."""
    kind = chance.random()
    if kind < 0.03:
        return None
    if kind < 0.08:
        return EngineProblem(chance.choice([ReasonCode.ENGINE_ERROR, ReasonCode.UNDECODABLE]), "it broke")
    # Half of all answers are the sound ones, or nothing would ever be OK.
    sound = kind < 0.55
    value = chance.choice(values[:2]) if sound else chance.choice(values)
    found = answer(value, 0.999 if sound else chance.choice(CONFIDENCES))  # type: ignore[arg-type]
    if chance.random() < 0.03:
        found = replace(found, probabilities={"ok": math.nan}, runner_up=("missing", math.nan))
    return found


def may_pass(cap: object, code: object) -> bool:
    """The oracle, written without a look at the rules: both answers there, sound, sure and good."""
    good = isinstance(cap, Answer) and isinstance(code, Answer)
    if not good or cap.value != "ok" or type(cap.value) is not str:  # type: ignore[attr-defined]
        return False
    text = code.value  # type: ignore[attr-defined]
    shaped = isinstance(text, str) and len(text) == 4 and "A" <= text[0] <= "Z"
    shaped = shaped and all(digit in "0123456789" for digit in text[1:])
    confidences = (cap.confidence, code.confidence)  # type: ignore[attr-defined]
    return shaped and all(0.5 < one <= 1.0 for one in confidences)


class World:
    """A station whose store, camera and engine do what chance says; every trigger is followed to its end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = HeldClock()
        self.plans = [make_plan(parse_recipe(text, Path("r.yaml"))) for text in (LEAN, OTHER)]
        self.engine = ScriptedEngine({})
        self.acted: list[Verdict] = []
        self.rows: list[ResultDraft] = []
        self.refusing = False
        acted = self.acted

        class Acting(StationOutputs):
            def verdict(self, verdict: Verdict, seen_ns: int) -> None:
                acted.append(verdict)

        self.station = Station(
            "st1", "cam1", self.plans[0],
            inspector=Inspector(self.engine, self.clock),
            accept=self._accept, commit=self._commit,
            numbers=PartNumbers("st1", self._reserve), clock=self.clock, boot_id="boot", lossless=False,
            outputs=Acting(()),
        )  # fmt: skip
        self.pixels = np.random.default_rng(seed).integers(0, 255, (40, 80, 3), dtype=np.uint8)

    def _accept(self, _: object) -> Future[None]:
        if self.refusing:
            raise StoreBusy("full")
        return Future()

    def _commit(self, draft: ResultDraft, _images: object, *, keep_until: object) -> Future[Result]:
        if self.refusing:
            raise StoreBusy("full")
        check_draft(draft)
        self.rows.append(draft)
        return Future()

    def _reserve(self, _: str, count: int) -> Future[range]:
        done: Future[range] = Future()
        done.set_result(range(count))
        return done

    def one(self, number: int) -> None:
        """One trigger under odd circumstances, judged to its end."""
        chance, clock = self.chance, self.clock
        clock.ns += chance.randrange(1, 50_000_000)
        plan = chance.choice(self.plans)
        self.station.use(plan)
        self.refusing = chance.random() < 0.02
        cap, code = odd_answer(chance, list(CAPS)), odd_answer(chance, list(CODES))
        self.engine.script = {CAP: cap, CODE: code}
        has_frame = chance.random() > 0.03
        age_ms = chance.choice([1, 10, 499, 501, 100_000]) if chance.random() < 0.2 else 5
        frame = Frame("cam1", number, self.pixels, clock.ns - age_ms * 1_000_000, clock.now())
        trouble = Reason(ReasonCode.STALE_FRAME, "frozen") if chance.random() < 0.05 else None
        waited_ms = 1_000 if chance.random() < 0.05 else 0
        rows, acted = len(self.rows), len(self.acted)

        # The thread is the test's own: it triggers, waits in the queue's place, and judges.
        self.station.trigger(
            frame if has_frame else None, kind=TriggerKind.MOTION, trouble=trouble, must=True
        )
        clock.ns += waited_ms * 1_000_000
        hurry = cap is None or code is None
        if hurry:
            clock.ns += 399_000_000  # the deadline is near: nobody waits it out
        job: Job = self.station._jobs.get_nowait()
        self.station._judge(job)

        assert len(self.acted) - acted >= 1, "no trigger without a verdict at the line"
        verdict = self.acted[-1]
        if self.refusing:
            assert len(self.rows) == rows
        else:
            assert len(self.rows) - rows == 1, "exactly one row"
            row = self.rows[-1]
            assert row.intake.recipe == plan.ref, "one recipe: that of the trigger"
            # A bad part whose answer held a NaN: rejected, and on record as undecided.
            unheld = (verdict, row.verdict) == (Verdict.NOT_OK, Verdict.NOT_DECIDABLE)
            assert row.verdict is verdict or unheld
            assert row.verdict is Verdict.OK or row.reasons, "what is not OK says why"
        fresh = has_frame and trouble is None and age_ms <= 500 and not waited_ms and not hurry
        if verdict is Verdict.OK:
            assert fresh, "a stale, frozen, missing or late picture became an OK"
            assert may_pass(cap, code), (cap, code)


@pytest.mark.timeout(180 + TRIGGERS // 100)
def test_every_trigger_ends_once_and_nothing_unsound_is_ever_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    # A traceback of each fault, drawn for people, would take most of the time.
    quiet = structlog.wrap_logger(
        structlog.ReturnLogger(), processors=[lambda _logger, _name, event: str(event)]
    )
    monkeypatch.setattr(station_module, "LOG", quiet)
    world = World(SEED)
    for number in range(TRIGGERS):
        world.one(number)
        while world.station._late:
            world.refusing = False
            world.station._hand_over_late()
        del world.rows[:-1], world.acted[:-1]
        if number == 0:
            tally: Counter[Verdict] = Counter()
        tally[world.acted[-1]] += 1
    print(f"{TRIGGERS} triggers: {dict(tally)}, unrecorded {world.station.unrecorded}")
    assert set(tally) == set(Verdict), "all three came up: an oracle that is never asked proves nothing"
    counts = world.station.counts()
    assert counts.pending == 0
    assert counts.triggered + world.station.unrecorded == TRIGGERS
