"""Jobs on a textured frame, judged by a recipe with two questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for inspection_doubles

from inspection_doubles import RECIPE, HeldClock

from lineside.daemon.inspection.job import Job
from lineside.daemon.inspection.plan import Plan, make_plan
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.values import Frame, Intake, TriggerKind


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def plan() -> Plan:
    return make_plan(parse_recipe(RECIPE, "recipe.yaml"))


@pytest.fixture
def make_job(clock: HeldClock, plan: Plan) -> Callable[..., Job]:
    """A job on a textured frame taken `age_ms` before the trigger."""

    def make(*, age_ms: float = 10.0, has_frame: bool = True, plan: Plan = plan) -> Job:
        image = np.random.default_rng(1).integers(0, 255, (100, 200, 3), dtype=np.uint8)
        frame = Frame("cam1", 7, image, clock.ns - int(age_ms * 1e6), clock.now()) if has_frame else None
        intake = Intake(
            clock.new_id(),
            "st1",
            "cam1",
            "p1",
            True,
            TriggerKind.EVERY_FRAME,
            clock.now(),
            "boot",
            7,
            plan.ref,
        )
        return Job(intake, frame, None, plan, clock.ns)

    return make
