"""Fit the demo engine's familiarity statistics on freshly drawn crops of the station as commissioned.

The formula and the file live in `lineside.engines.familiarity`; this collects the vision tower's embeddings
of crops the engine was not trained on, half to fit and half to set the threshold, and writes one fit a
question under its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lineside.engines import familiarity
from lineside.engines.demo.crops import engine_pixels
from lineside.engines.demo.feed import Batch, draw_batch
from lineside.engines.demo.model import DemoNetwork
from lineside.engines.demo.questions import CODE, QUESTIONS, DemoQuestion, right_answer
from lineside.engines.demo.truth import PartTruth

FIT_SEED = 2_000_003
BATCH = 64


def _look(question: DemoQuestion, truth: PartTruth) -> str:
    """What tells kinds of ordinary crops apart; codes differ too much to be kinds."""
    return (
        ""
        if question is CODE
        else f"{right_answer(question, truth)} {truth.misprint if question.id == 'cap' else ''}"
    )


@torch.no_grad()
def _embedded(network: DemoNetwork, question: DemoQuestion, drawn: Sequence[Batch]) -> familiarity.Floats:
    found = []
    for batch in drawn:
        pictures = batch.pictures[question.region]
        patches = torch.from_numpy(np.stack([engine_pixels(p) for p in pictures]))
        found.append(network.embed_pictures(patches, [question.region] * len(pictures)).numpy())
    return np.concatenate(found)


def fit_familiarity(network: DemoNetwork, folder: Path, parts: int = 8000) -> dict[str, float]:
    """Write `familiarity.safetensors`; the threshold of each question."""
    drawn = [
        draw_batch(FIT_SEED, number, {q.region: BATCH for q in QUESTIONS}) for number in range(parts // BATCH)
    ]
    half = len(drawn) // 2
    stats = {}
    for question in QUESTIONS:
        looks = [_look(question, truth) for batch in drawn[:half] for truth in batch.truths]
        fitting, held_out = (
            _embedded(network, question, drawn[:half]),
            _embedded(network, question, drawn[half:]),
        )
        stats[question.id] = familiarity.fit(fitting, looks, held_out)
    familiarity.save_stats(folder / familiarity.FILE_NAME, stats)
    return {name: fitted.threshold for name, fitted in stats.items()}
