"""Rounded experts, in every form a build may choose, give what the very same rounded numbers give."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects import stored
from lineside.engines.graph.dialects.base import ExpertWeights
from lineside.engines.quantise.blocks import BlockForm, rounded

COUNT, INNER, HIDDEN, CHOSEN, TOKENS = 4, 128, 128, 2, 5
FORMS = [BlockForm(bits, block, zeros) for bits in (4, 8) for block in (32, 128) for zeros in (False, True)]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label)
def test_rounded_experts_are_their_rounded_weights(form: BlockForm) -> None:
    draw = np.random.default_rng(3)
    # Off centre, so that zero points matter.
    gates, ups, downs = (
        (draw.standard_normal((COUNT, rows, width)) + 0.5).astype(np.float32) / np.sqrt(width)
        for rows, width in ((INNER, HIDDEN), (INNER, HIDDEN), (HIDDEN, INNER))
    )
    x = draw.standard_normal((TOKENS, HIDDEN)).astype(np.float32)
    logits = draw.standard_normal((TOKENS, COUNT)).astype(np.float32)
    g = GraphBuilder("experts")
    weights = ExpertWeights(COUNT, INNER, HIDDEN, lambda i: (gates[i], ups[i]), lambda i: downs[i])
    out = stored.experts(
        g,
        g.input("x", "float32", (TOKENS, HIDDEN)),
        g.input("logits", "float32", (TOKENS, COUNT)),
        weights,
        CHOSEN,
        form,
        "e",
    )
    g.output("y", out, "float32", (TOKENS, HIDDEN))

    session = ort.InferenceSession(g.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x, "logits": logits})

    wanted = np.zeros_like(x)
    for token in range(TOKENS):
        chosen = np.argsort(-logits[token])[:CHOSEN]
        shares = np.exp(logits[token][chosen] - logits[token][chosen].max())
        for expert, share in zip(chosen, shares / shares.sum(), strict=True):
            gate, up, down = (rounded(each[expert], form) for each in (gates, ups, downs))
            gated = gate @ x[token]
            wanted[token] += share * (down @ (gated / (1 + np.exp(-gated)) * (up @ x[token])))
    # The operator rounds activations to 8 bits a block.
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
