"""Scales folded between layers: the model stays the same, what is rounded of it matters less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graph_runner import GraphRunner, relative_error
from qwen_cases import Model, prompt_of, write_checkpoint

from lineside.engines.build import build_graphs
from lineside.engines.config import read_config
from lineside.engines.quantise.blocks import BlockForm
from lineside.engines.quantise.forms import error_of, sampled_rows
from lineside.engines.quantise.scaling import ScaledTensors, choose_scales, groups_of
from lineside.engines.weights import open_checkpoint

FORM = BlockForm(4, 128, True)


@pytest.mark.parametrize("family", ["dense", "moe"])
def test_scales_lower_the_error_of_rounding_and_change_nothing_else(family: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(Model(family, 2, tied=False), tmp_path / "checkpoint")
    source = open_checkpoint(checkpoint)
    groups = groups_of(read_config(checkpoint).text, source)
    rng = np.random.default_rng(0)
    samples = {}
    for group in groups:
        width = group.measured.shape[1]
        inputs = rng.standard_normal((32, width)).astype(np.float32)
        inputs[:, ::7] *= 40  # channels that matter, as trained models have them
        samples[group.measured.name] = inputs
    scales, seen = choose_scales(groups, samples, FORM)
    assert scales.norms
    assert scales.rows
    scaled = ScaledTensors(source, scales)
    for group, after in zip(groups, groups_of(read_config(checkpoint).text, scaled), strict=True):
        name = group.measured.name
        lost = error_of(FORM, [sampled_rows(group.measured)], samples[name])
        assert error_of(FORM, [sampled_rows(after.measured)], seen[name]) <= lost * 1.0001
        if (group.norm in scales.norms) or (group.rows in scales.rows):
            assert error_of(FORM, [sampled_rows(after.measured)], seen[name]) < 0.99 * lost
    plain = GraphRunner(build_graphs(checkpoint, tmp_path / "plain"))
    same = GraphRunner(build_graphs(checkpoint, tmp_path / "scaled", tensors=scaled))
    prompt = prompt_of("image")
    # The same arithmetic with other roundings, in a random model that enlarges every one of them.
    assert relative_error(same.greedy(prompt, 2).prefill, plain.greedy(prompt, 2).prefill) < 5e-3


def test_even_channels_are_left_alone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(Model("dense", 1, tied=True), tmp_path / "checkpoint")
    groups = groups_of(read_config(checkpoint).text, open_checkpoint(checkpoint))
    rng = np.random.default_rng(0)
    samples = {
        g.measured.name: rng.choice([-1, 1], (64, g.measured.shape[1])).astype(np.float32) for g in groups
    }
    scales, seen = choose_scales(groups, samples, FORM)
    assert not scales.norms
    assert not scales.rows
    assert seen.keys() == samples.keys()
