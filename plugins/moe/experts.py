"""Tensors, launches and sizes of the experts' products: pair by pair for few tokens, grouped for many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.int4_matmul.shapes import (
    ROUNDING,
    block_variants,
    draw_stored,
    stored_bytes,
    stored_tensors,
)
from lineside.plugins.moe import naive
from lineside.plugins.operator import (
    Arithmetic,
    Case,
    Dimension,
    Kernel,
    Launch,
    Tensor,
    Variant,
    numpy_dtype,
)

__all__ = ["GROUP_TILE", "MIXTURES", "PRODUCTS", "ROUNDING", "TOKENS_AT_ONCE", "Mixture", "draw_experts"]

HERE = Path(__file__).parent
GROUP_TILE = 64
"""Pairs of one expert that a block of a grouped product works on: TILE_COLUMNS of tiles.cuh."""
TOKENS_AT_ONCE = (364, 1024)
"""Prompts that are timed: a picture of 640×480 with a question, and a long one."""

Form = Literal["", "_int4", "_int4_zeros"]
FORMS: tuple[Form, ...] = ("", "_int4", "_int4_zeros")


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A model's experts: how many, how many a token chooses, hidden width, and width inside an expert."""

    experts: int
    chosen: int
    width: int
    inner: int


DEMO = Mixture(experts=4, chosen=2, width=96, inner=96)
LARGE = Mixture(experts=256, chosen=8, width=2048, inner=512)
MIXTURES = (DEMO, LARGE)
"""The demo engine's, and that of Qwen3.5-35B-A3B."""
# 35B-A3B in 16 bits takes 1.6 GB a layer and fits no device it is meant for: timed with fewer experts.
_TIMED = {"": (DEMO, Mixture(experts=32, chosen=8, width=2048, inner=512)), "_int4": MIXTURES}

_KIND = Tensor(name="x", dtype="activation", shape=())


def draw_experts(rng: np.random.Generator, tokens: int, experts: int, chosen: int) -> NDArray[np.int32]:
    """For each token `chosen` different ones of `experts`, each as likely as any other."""
    return np.argsort(rng.random((tokens, experts)), axis=1)[:, :chosen].astype(np.int32)


def experts_read(tokens: int, experts: int, chosen: int) -> int:
    """How many different experts tokens that choose by chance are expected to need."""
    return round(experts * (1 - (1 - chosen / experts) ** tokens))


def _variants(form: Form) -> tuple[Variant, ...]:
    if form:
        return block_variants(form == "_int4_zeros")
    return tuple(Variant(name=activation, activation=activation) for activation in ROUNDING)


def _weights(form: Form, name: str, rows: tuple[str | int, ...], width: str) -> tuple[Tensor, ...]:
    if form:
        return stored_tensors(rows, f"{width}B", form == "_int4_zeros")
    return (Tensor(name=name, dtype="activation", shape=(*rows, width)),)


def _draw_weights(
    rng: np.random.Generator, name: str, rows: tuple[int, ...], width: int, variant: Variant
) -> dict[str, NDArray[Any]]:
    if "BLOCK" in variant.macros:
        return draw_stored(rng, rows, width, variant)
    numbers = rng.standard_normal((*rows, width), np.float32)
    numbers /= np.float32(width**0.5)
    return {name: numbers.astype(numpy_dtype(_KIND, variant))}


def _weight_bytes(rows: int, width: int, variant: Variant) -> int:
    return stored_bytes(rows, width, variant) if "BLOCK" in variant.macros else 2 * rows * width


def _routing(rng: np.random.Generator, sizes: Mapping[str, int], grouped: bool) -> dict[str, NDArray[Any]]:
    experts = draw_experts(rng, sizes["T"], sizes["E"], sizes["S"])
    if not grouped:
        return {"experts": experts}
    order, groups = naive.group(experts, sizes["E"], GROUP_TILE)
    return {"order": order, "groups": groups}


def _experts(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    if "experts" in inputs:
        return inputs["experts"]
    return naive.pair_experts(inputs["order"], inputs["groups"])


def _routing_tensors(grouped: bool) -> tuple[Tensor, ...]:
    if not grouped:
        return (Tensor(name="experts", dtype="int32", shape=("T", "S")),)
    return (
        Tensor(name="order", dtype="int32", shape=("T", "S")),
        Tensor(name="groups", dtype="int32", shape=("E", 3)),
    )


def _tiles(sizes: Mapping[str, Dimension], arithmetic: Arithmetic) -> Dimension:
    """No grouping has more tiles: full ones, and a ragged one for each expert that has any pair."""
    pairs = sizes["T"] * sizes["S"]
    return arithmetic.cdiv(pairs, GROUP_TILE) + arithmetic.min(pairs, sizes["E"])


def _named(sizes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={sizes[name]}" for name in "TSEHI")


def _bytes_moved(sizes: Mapping[str, int], variant: Variant, matrix: int, activations: int) -> int:
    return experts_read(sizes["T"], sizes["E"], sizes["S"]) * matrix + activations


def _gate_up(form: Form, grouped: bool) -> Kernel:
    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        scalars = (sizes["H"], sizes["S"], sizes["E"], sizes["I"])
        tile = 64 if grouped else 8
        pairs = _tiles(sizes, arithmetic) if grouped else sizes["T"] * sizes["S"]
        return Launch(grid=(pairs, arithmetic.cdiv(sizes["I"], tile), 1), block=(128, 1, 1), scalars=scalars)

    def reference(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
        return {"hidden": naive.gate_up(inputs["x"], _experts(inputs), inputs)}

    def draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
        x = rng.standard_normal((sizes["T"], sizes["H"]), np.float32).astype(numpy_dtype(_KIND, variant))
        weights = _draw_weights(rng, "gate_up", (sizes["E"], sizes["I"], 2), sizes["H"], variant)
        inputs = {"x": x, **_routing(rng, sizes, grouped), **weights}
        return Case(
            name=_named(sizes), sizes=sizes, inputs=inputs, tolerance=2 * ROUNDING[variant.activation]
        )

    def bytes_moved(sizes: Mapping[str, int], variant: Variant) -> int:
        matrix = _weight_bytes(2 * sizes["I"], sizes["H"], variant)
        return _bytes_moved(
            sizes, variant, matrix, 2 * sizes["T"] * (sizes["H"] + sizes["S"] * (2 + sizes["I"]))
        )

    return _kernel(
        "gate_up",
        form,
        grouped,
        inputs=(
            Tensor(name="x", dtype="activation", shape=("T", "H")),
            *_routing_tensors(grouped),
            *_weights(form, "gate_up", ("E", "I", 2), "H"),
        ),
        output=Tensor(name="hidden", dtype="activation", shape=("T", "S", "I")),
        scalars=("width", "choices", "count", "inner"),
        launch=launch,
        naive=reference,
        draw=draw,
        bytes_moved=bytes_moved,
        flops=lambda sizes, variant: 4 * sizes["T"] * sizes["S"] * sizes["H"] * sizes["I"],
    )


def _down(form: Form, grouped: bool) -> Kernel:
    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        if grouped:
            grid = (_tiles(sizes, arithmetic), arithmetic.cdiv(sizes["H"], 128), 1)
            return Launch(grid=grid, block=(128, 1, 1), scalars=(sizes["I"], sizes["E"], sizes["H"]))
        grid = (sizes["T"], arithmetic.cdiv(sizes["H"], 16), 1)
        scalars = (sizes["I"], sizes["S"], sizes["E"], sizes["H"])
        return Launch(grid=grid, block=(256, 1, 1), scalars=scalars)

    def reference(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
        parts = naive.down(inputs["hidden"], _experts(inputs), inputs)
        return {"parts": parts} if grouped else {"y": naive.combine(parts, inputs["weights"])}

    def draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
        tokens, chosen = sizes["T"], sizes["S"]
        hidden = rng.standard_normal((tokens, chosen, sizes["I"]), np.float32)
        inputs = {"hidden": hidden.astype(numpy_dtype(_KIND, variant)), **_routing(rng, sizes, grouped)}
        if not grouped:
            inputs["weights"] = rng.dirichlet(np.ones(chosen), tokens).astype(np.float32)
        inputs |= _draw_weights(rng, "down", (sizes["E"], sizes["H"]), sizes["I"], variant)
        return Case(name=_named(sizes), sizes=sizes, inputs=inputs, tolerance=ROUNDING[variant.activation])

    def bytes_moved(sizes: Mapping[str, int], variant: Variant) -> int:
        matrix = _weight_bytes(sizes["H"], sizes["I"], variant)
        written = sizes["S"] * sizes["H"] if grouped else sizes["H"] + 2 * sizes["S"]
        return _bytes_moved(
            sizes, variant, matrix, 2 * sizes["T"] * (sizes["S"] * (2 + sizes["I"]) + written)
        )

    output = Tensor(name="y", dtype="activation", shape=("T", "H"))
    routed: tuple[Tensor, ...] = (Tensor(name="weights", dtype="float32", shape=("T", "S")),)
    if grouped:
        output, routed = Tensor(name="parts", dtype="activation", shape=("T", "S", "H")), ()
    return _kernel(
        "down",
        form,
        grouped,
        inputs=(
            Tensor(name="hidden", dtype="activation", shape=("T", "S", "I")),
            *_routing_tensors(grouped),
            *routed,
            *_weights(form, "down", ("E", "H"), "I"),
        ),
        output=output,
        scalars=("inner", "count", "width") if grouped else ("inner", "choices", "count", "width"),
        launch=launch,
        naive=reference,
        draw=draw,
        bytes_moved=bytes_moved,
        flops=lambda sizes, variant: 2 * sizes["T"] * sizes["S"] * sizes["H"] * sizes["I"],
    )


def _kernel(step: str, form: Form, grouped: bool, *, output: Tensor, **about: Any) -> Kernel:
    name = f"moe_grouped_{step}" if grouped else f"moe_{step}"
    return Kernel(
        name=name + form,
        source=HERE / f"{name.removeprefix('moe_')}.cu",
        outputs=(output,),
        variants=_variants(form),
        sizes=tuple(
            {"T": tokens, "S": one.chosen, "E": one.experts, "H": one.width, "I": one.inner}
            for one in _TIMED["_int4" if form else ""]
            for tokens in (TOKENS_AT_ONCE if grouped else (1, 4))
        ),
        decode=not grouped,
        **about,
    )


PRODUCTS = tuple(
    make(form, grouped) for grouped in (False, True) for make in (_gate_up, _down) for form in FORMS
)
