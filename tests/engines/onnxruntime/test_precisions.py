"""Engines of every precision in a session: sharing changes nothing, and float16 answers as float32 does."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny_engine

from lineside.engines.base import Choice, Prompt, Text
from lineside.engines.build import Precision, Storage
from lineside.engines.open import Engine

CHOICE = Choice(("ok", "missing", "tilted", "cracked"))
ASKS = [Prompt("Judge the part.", words) for words in ("Is it ok?", "How is it?")]
# How far a probability may move. Rounding to integers moves a random engine anywhere: what it costs is
# measured on graphs and, for a trained engine, by comparing two bundles.
NEAR = {"fp32": 1e-6, "fp16": 0.02, "int8": 1.0, "int4": 1.0}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8) for seed in (1, 2)]


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_session_runs_every_precision_the_builder_writes(
    checkpoint: Path, bundle: Path, tmp_path: Path, pictures: list[np.ndarray], precision: Precision
) -> None:
    built = tiny_engine.build(checkpoint, tmp_path / "engine", storage=Storage(precision))
    with (
        Engine.open(built, threads=1) as warm,
        Engine.open(built, threads=1, snapshot_bytes=0, picture_bytes=0) as cold,
        Engine.open(bundle, threads=1) as full,
    ):
        assert warm.info.precision == precision
        for images in (pictures[:1], pictures):
            for prompt in ASKS:
                shared, alone = (one.answer(images, prompt, CHOICE) for one in (warm, cold))
                assert shared.probabilities == alone.probabilities
                assert sum(shared.probabilities.values()) == pytest.approx(1)
                wanted = full.answer(images, prompt, CHOICE).probabilities
                assert shared.probabilities == pytest.approx(wanted, abs=NEAR[precision])
        assert shared.tokens.prefix > 0
        written, again = (one.answer(pictures, ASKS[0], Text("K[0-9]{3}")) for one in (warm, cold))
        assert written.token_ids == again.token_ids
