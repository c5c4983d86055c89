"""What the demonstration says when its station is not as it was commissioned: with gates and without.

Run by `make bench`. Crops of the drawn station go through gates, demo engine and rules; the right answer in
every condition but the first is NOT_DECIDABLE.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from importlib.resources import as_file, files

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from lineside.daemon.composition import demo_bundle
from lineside.daemon.engine_worker.messages import Ask
from lineside.daemon.gates.check import check_picture
from lineside.daemon.inspection.local_engine import LocalEngine
from lineside.daemon.inspection.plan import Plan
from lineside.daemon.recipe_book import load_plan
from lineside.daemon.rules.judge import judge
from lineside.daemon.values import Picture, Reason, Verdict
from lineside.engines.base import Answer
from lineside.engines.demo import conditions
from lineside.engines.demo.crops import part_crops
from lineside.engines.demo.truth import random_truth
from lineside.engines.open import Engine

PARTS = 150
SEED = 5
CONDITIONS = {
    "as commissioned": lambda truth, rng: part_crops(truth, rng),
    "dimmer light": conditions.dimmer_light,
    "glare": conditions.glare,
    "defocus": conditions.defocus,
    "shifted camera": conditions.shifted_camera,
    "another product": conditions.another_product,
}


def test_strange_conditions_go_to_review() -> None:
    with as_file(files("lineside.daemon.demo") / "tray-check.yaml") as recipe:
        plan = load_plan(recipe)
    engine = LocalEngine(Engine.open(demo_bundle()))
    table = Table(title=f"{PARTS} parts a condition, 70 % good, seed {SEED}: verdicts", title_justify="left")
    for column in ("condition", "gates", "OK", "NG", "Review", "escapes", "overkill"):
        table.add_column(column, justify="left" if column in ("condition", "gates") else "right")
    escapes = 0
    for name, draw in CONDITIONS.items():
        for gates, used in (("with baseline", plan), ("none", dataclasses.replace(plan, baseline=None))):
            counted = verdicts(used, engine, draw)
            table.add_row(name, gates, *(str(counted[key]) for key in (*Verdict, "escape", "overkill")))
            escapes += counted["escape"] if used is plan else 0
    Console(width=100).print(table)
    assert escapes == 0


def verdicts(plan: Plan, engine: LocalEngine, draw: conditions.Condition) -> Counter[str]:
    """How many parts of each verdict, and how many of them were wrong."""
    rng = np.random.default_rng(SEED)
    counted: Counter[str] = Counter()
    for _ in range(PARTS):
        truth = random_truth(rng, good_share=0.7)
        crops = draw(truth, rng)
        verdict = judged(plan, engine, {name: np.asarray(crop, np.uint8) for name, crop in crops.items()})
        counted[verdict] += 1
        counted["escape"] += verdict is Verdict.OK and not truth.good
        counted["overkill"] += verdict is Verdict.NOT_OK and truth.good
    return counted


def judged(plan: Plan, engine: LocalEngine, crops: dict[str, Picture]) -> Verdict:
    """The verdict on one part's crops."""
    answers: dict[str, Answer] = {}
    troubles: list[Reason] = []
    recipe = plan.loaded.recipe
    for look in plan.looks:
        ((name, _),) = look.places
        crop = crops[str(name)]
        objections = check_picture(crop, look.ask, name, recipe.gates, plan.baseline)
        troubles.extend(objections)
        if not objections:
            rgb = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)
            (answer,) = engine.submit([Ask((rgb,), look.prompt, look.grammar)]).result()
            if isinstance(answer, Answer):
                answers[look.ask] = answer
    return judge(recipe, answers, {}, troubles=troubles).verdict
