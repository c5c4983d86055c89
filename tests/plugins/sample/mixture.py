"""A whole mixture of experts, through the kernels (both ways) and through the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from lineside.plugins.host.run import run
from lineside.plugins.int4_matmul.shapes import draw_stored
from lineside.plugins.moe import naive
from lineside.plugins.moe.tensorrt import kernels_of, moe_nodes
from lineside.plugins.operator import Variant
from lineside.plugins.operators import find_variant

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How activations and weights are stored; `block` 0: weights are of the activation's type."""

    name: str
    activation: str
    block: int = 0
    zeros: bool = False


FORMS = (
    Form(name="float16", activation="float16"),
    Form(name="float16, int4 by 32", activation="float16", block=32),
    Form(name="bfloat16, int4 by 128 with zero points", activation="bfloat16", block=128, zeros=True),
)


@dataclass(frozen=True)
class Experts:
    """`gate_up` [E, I, 2, H] and `down` [E, H, I], each as a kernel takes it."""

    form: Form
    count: int
    gate_up: Arrays
    down: Arrays

    @classmethod
    def drawn(cls, rng: np.random.Generator, form: Form, *, count: int, width: int, inner: int) -> Experts:
        """Believable weights."""
        return cls(
            form,
            count,
            _drawn(rng, form, "gate_up", (count, inner, 2), width),
            _drawn(rng, form, "down", (count, width), inner),
        )

    @property
    def kind(self) -> Any:
        """NumPy's type of the activations."""
        return np.float16 if self.form.activation == "float16" else ml_dtypes.bfloat16

    @property
    def tolerance(self) -> float:
        """Of a result that went through two roundings."""
        return 2e-3 if self.form.activation == "float16" else 1.6e-2


def _drawn(rng: np.random.Generator, form: Form, name: str, rows: tuple[int, ...], width: int) -> Arrays:
    if form.block:
        macros = {"BLOCK": str(form.block), "ZEROS": str(int(form.zeros))}
        return draw_stored(rng, rows, width, Variant(name="", activation=form.activation, macros=macros))
    kind = np.float16 if form.activation == "float16" else ml_dtypes.bfloat16
    return {name: (rng.standard_normal((*rows, width), np.float32) / np.float32(width**0.5)).astype(kind)}


def naive_mixture(
    experts: Experts, x: NDArray[Any], logits: NDArray[np.float32], chosen: int
) -> NDArray[np.float32]:
    """The reference, with nothing rounded between its steps."""
    numbers, weights = naive.route(logits, chosen)
    hidden = naive.gate_up(x, numbers, experts.gate_up)
    return naive.combine(naive.down(hidden, numbers, experts.down), weights)


def few_tokens(
    experts: Experts, x: NDArray[Any], logits: NDArray[np.float32], chosen: int = 2
) -> NDArray[Any]:
    """Route, gate and up, down."""
    route, gate_up, down = _nodes(experts, chosen, many_tokens=False)
    routed = route(logits=logits)
    hidden = gate_up(x=x, experts=routed["experts"], **experts.gate_up)
    return down(**hidden, **routed, **experts.down)["y"]


def many_tokens(
    experts: Experts, x: NDArray[Any], logits: NDArray[np.float32], chosen: int = 2
) -> NDArray[Any]:
    """Route, group, gate and up, down, combine."""
    route, group, gate_up, down, combine = _nodes(experts, chosen, many_tokens=True)
    routed = route(logits=logits)
    grouped = group(experts=routed["experts"])
    hidden = gate_up(x=x, **grouped, **experts.gate_up)
    return combine(**down(**hidden, **grouped, **experts.down), **routed)["y"]


def _nodes(experts: Experts, chosen: int, *, many_tokens: bool) -> list[Any]:
    """The very nodes of a TensorRT graph, each as a function of its inputs."""
    form = experts.form
    known = {kernel.name: kernel for kernel in kernels_of(form.activation, experts.count, chosen)}
    nodes = moe_nodes(
        form.activation,
        experts.count,
        chosen,
        block=form.block or None,
        zeros=form.zeros,
        many_tokens=many_tokens,
    )

    def function(name: str, attributes: dict[str, str | int]) -> Any:
        variant = find_variant(known[name], str(attributes["variant"]))
        return lambda **inputs: run(known[name], variant, inputs)

    return [function(name, attributes) for name, attributes in nodes]
