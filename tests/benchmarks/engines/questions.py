"""Several questions about one crop, as a recipe asks them: what each of them costs. Run by measure.py."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

RECIPE = """
recipe: questions
trigger: {kind: grpc}
regions: {cap: [0.0, 0.0, 1.0, 1.0]}
ask:
  - {id: cap, region: cap, question: Is the cap on straight?, answer: {choice: [ok, missing, tilted]}}
  - {id: crack, region: cap, question: Is there a crack in the cap?, answer: {choice: [ok, cracked]}}
  - {id: print, region: cap, question: Is the print on the cap whole?, answer: {choice: [ok, smeared]}}
"""


def questions_about_one_crop(
    bundle: str, threads: int, repeats: int, size: int, apart: bool
) -> dict[str, Any]:
    """Seconds and CPU seconds of each question in turn, and the tokens it read; every part another picture.

    `apart`: each question is asked as if it alone looked at the crop, its words before the picture.
    """
    from lineside.daemon.inspection.plan import make_plan
    from lineside.daemon.recipes.load import parse_recipe
    from lineside.engines.base import Prompt
    from lineside.engines.open import Engine

    looks = make_plan(parse_recipe(RECIPE, "questions.yaml")).looks
    prompts = [Prompt(instruction=look.prompt.question) if apart else look.prompt for look in looks]
    rng = np.random.default_rng(4)
    found: dict[str, Any] = {look.ask: [] for look in looks}
    with Engine.open(Path(bundle), threads=threads, context_tokens=1024) as engine:
        for prompt, look in zip(prompts, looks, strict=True):
            engine.warm(prompt, look.grammar)
        for repeat in range(repeats + 1):
            picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            for prompt, look in zip(prompts, looks, strict=True):
                started, spent = time.perf_counter(), time.process_time()
                answer = engine.answer([picture], prompt, look.grammar)
                seconds = time.perf_counter() - started, time.process_time() - spent
                if repeat:
                    read = answer.tokens.prompt + answer.tokens.image
                    found[look.ask].append([*seconds, read])
    return found
