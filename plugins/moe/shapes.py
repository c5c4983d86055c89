"""Tensors, launches and sizes of the mixture of experts; the products are in `experts.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.moe import naive
from lineside.plugins.moe.experts import (
    GROUP_TILE,
    MIXTURES,
    PRODUCTS,
    ROUNDING,
    TOKENS_AT_ONCE,
    draw_experts,
)
from lineside.plugins.operator import (
    Arithmetic,
    Case,
    Dimension,
    Kernel,
    Launch,
    Operator,
    Tensor,
    Variant,
    numpy_dtype,
)

HERE = Path(__file__).parent
_WARPS = 4
_PARTS = Tensor(name="parts", dtype="activation", shape=("T", "S", "H"))


def routing_variant(experts: int, chosen: int) -> Variant:
    """Routing and grouping among `experts`, `chosen` for each token.

    Raises ValueError for more than 1,024 experts or more than 32 chosen, which the kernels do not hold.
    """
    if not (1 <= chosen <= min(32, experts) and experts <= 1024):
        raise ValueError(f"{chosen} of {experts} experts: at most 32 of 1,024 can be chosen")
    macros = {"EXPERTS": str(experts), "TOP_K": str(chosen)}
    return Variant(name=f"{chosen}-of-{experts}", activation="float32", macros=macros)


def combining_variant(activation: str, experts: int) -> Variant:
    """Adding up in `activation`, of numbers of experts below `experts`."""
    return Variant(name=f"{activation}-{experts}", activation=activation, macros={"EXPERTS": str(experts)})


def _route_launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    tokens = sizes["T"]
    grid = (arithmetic.cdiv(tokens, _WARPS), 1, 1)
    return Launch(grid=grid, block=(32 * _WARPS, 1, 1), scalars=(tokens,))


def _route_naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    experts, weights = naive.route(inputs["logits"], int(variant.macros["TOP_K"]))
    return {"experts": experts.astype(np.float32), "weights": weights}


def _route_draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    shape = (sizes["T"], int(variant.macros["EXPERTS"]))
    logits = 3 * rng.standard_normal(shape, np.float32)
    return Case(name=f"T={sizes['T']}", sizes=sizes, inputs={"logits": logits}, tolerance=1e-6)


def _route_bytes(sizes: Mapping[str, int], variant: Variant) -> int:
    return sizes["T"] * (4 * int(variant.macros["EXPERTS"]) + 8 * int(variant.macros["TOP_K"]))


def _route_flops(sizes: Mapping[str, int], variant: Variant) -> int:
    """Comparisons: one for each expert in each round."""
    return sizes["T"] * int(variant.macros["EXPERTS"]) * int(variant.macros["TOP_K"])


ROUTE = Kernel(
    name="moe_route",
    source=HERE / "route.cu",
    inputs=(Tensor(name="logits", dtype="float32", shape=("T", "E")),),
    outputs=(
        Tensor(name="experts", dtype="int32", shape=("T", "TOP_K")),
        Tensor(name="weights", dtype="float32", shape=("T", "TOP_K")),
    ),
    scalars=("tokens",),
    variants=tuple(routing_variant(one.experts, one.chosen) for one in MIXTURES),
    launch=_route_launch,
    naive=_route_naive,
    draw=_route_draw,
    bytes_moved=_route_bytes,
    flops=_route_flops,
    sizes=tuple({"T": tokens} for tokens in (1, *TOKENS_AT_ONCE)),
    decode=True,
)


def _group_launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    grid = (int(variant.macros["EXPERTS"]), 1, 1)
    return Launch(grid=grid, block=(128, 1, 1), scalars=(sizes["T"] * sizes["S"],))


def _group_naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    order, groups = naive.group(inputs["experts"], int(variant.macros["EXPERTS"]), GROUP_TILE)
    return {"order": order.astype(np.float32), "groups": groups.astype(np.float32)}


def _group_draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    experts, chosen = (int(variant.macros[name]) for name in ("EXPERTS", "TOP_K"))
    drawn = draw_experts(rng, sizes["T"], experts, chosen)
    return Case(name=f"T={sizes['T']}", sizes=sizes, inputs={"experts": drawn}, tolerance=0.0)


GROUP = Kernel(
    name="moe_group",
    source=HERE / "group.cu",
    inputs=(Tensor(name="experts", dtype="int32", shape=("T", "S")),),
    outputs=(
        Tensor(name="order", dtype="int32", shape=("T", "S")),
        Tensor(name="groups", dtype="int32", shape=("EXPERTS", 3)),
    ),
    scalars=("pairs",),
    variants=ROUTE.variants,
    launch=_group_launch,
    naive=_group_naive,
    draw=_group_draw,
    bytes_moved=lambda sizes, variant: (
        4 * (2 * sizes["T"] * int(variant.macros["TOP_K"]) + 3 * int(variant.macros["EXPERTS"]))
    ),
    flops=lambda sizes, variant: sizes["T"] * int(variant.macros["TOP_K"]) * int(variant.macros["EXPERTS"]),
    sizes=tuple({"T": tokens} for tokens in TOKENS_AT_ONCE),
    decode=False,
)


def _combine_launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
    grid = (sizes["T"], arithmetic.cdiv(sizes["H"], 128), 1)
    return Launch(grid=grid, block=(128, 1, 1), scalars=(sizes["S"], sizes["H"]))


def _combine_naive(inputs: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, NDArray[np.float32]]:
    known = (inputs["experts"] >= 0) & (inputs["experts"] < int(variant.macros["EXPERTS"]))
    return {"y": naive.combine(inputs["parts"], np.where(known, inputs["weights"], np.float32(np.nan)))}


def _combine_draw(rng: np.random.Generator, sizes: Mapping[str, int], variant: Variant) -> Case:
    tokens, chosen, width = sizes["T"], sizes["S"], sizes["H"]
    parts = rng.standard_normal((tokens, chosen, width), np.float32)
    return Case(
        name=f"T={tokens} S={chosen} H={width}",
        sizes=sizes,
        inputs={
            "parts": parts.astype(numpy_dtype(_PARTS, variant)),
            "experts": draw_experts(rng, tokens, int(variant.macros["EXPERTS"]), chosen),
            "weights": rng.dirichlet(np.ones(chosen), tokens).astype(np.float32),
        },
        tolerance=ROUNDING[variant.activation],
    )


COMBINE = Kernel(
    name="moe_combine",
    source=HERE / "combine.cu",
    inputs=(
        _PARTS,
        Tensor(name="experts", dtype="int32", shape=("T", "S")),
        Tensor(name="weights", dtype="float32", shape=("T", "S")),
    ),
    outputs=(Tensor(name="y", dtype="activation", shape=("T", "H")),),
    scalars=("choices", "width"),
    variants=tuple(combining_variant(kind, one.experts) for kind in ROUNDING for one in MIXTURES),
    launch=_combine_launch,
    naive=_combine_naive,
    draw=_combine_draw,
    bytes_moved=lambda sizes, variant: sizes["T"] * (sizes["S"] * (2 * sizes["H"] + 8) + 2 * sizes["H"]),
    flops=lambda sizes, variant: 2 * sizes["T"] * sizes["S"] * sizes["H"],
    sizes=tuple(
        {"T": tokens, "S": one.chosen, "H": one.width} for one in MIXTURES for tokens in TOKENS_AT_ONCE
    ),
    decode=False,
)
OPERATOR = Operator(name="moe", kernels=(ROUTE, GROUP, *PRODUCTS, COMBINE))
