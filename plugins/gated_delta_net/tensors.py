"""What the kernels of Gated DeltaNet share: tensors by name, numbers to draw, the sizes of published models.

Sizes by name: B sequences, T tokens, C channels of the convolution, HV value heads, NC chunks; the number of
key heads follows from C = (2 HK + HV) * head size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net.naive import TAPS
from lineside.plugins.operator import Arithmetic, Case, Dimension, Tensor, Variant, numpy_dtype

ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5}
"""Error that an activation's type alone explains, relative to the largest value of an output."""

Inputs = Mapping[str, NDArray[Any]]
Sizes = Mapping[str, int]

QKV = Tensor(name="qkv", dtype="activation", shape=("B", "T", "C"))
A = Tensor(name="a", dtype="activation", shape=("B", "T", "HV"))
B = Tensor(name="b", dtype="activation", shape=("B", "T", "HV"))
CONV_WEIGHT = Tensor(name="conv_weight", dtype="activation", shape=("C", 1, TAPS))
A_LOG = Tensor(name="A_log", dtype="float32", shape=("HV",))
DT_BIAS = Tensor(name="dt_bias", dtype="float32", shape=("HV",))
CONV_STATE = Tensor(name="conv_state", dtype="activation", shape=("B", TAPS - 1, "C"))
NEXT_CONV_STATE = Tensor(name="next_conv_state", dtype="activation", shape=("B", TAPS - 1, "C"))
MIXED = Tensor(name="mixed", dtype="activation", shape=("B", "T", "C"))
LOG_DECAY = Tensor(name="log_decay", dtype="float32", shape=("B", "HV", "T"))
BETA = Tensor(name="beta", dtype="float32", shape=("B", "HV", "T"))


def by_value(name: str, head: int) -> Tensor:
    """An activation for every value head."""
    return Tensor(name=name, dtype="activation", shape=("B", "T", f"HV*{head}"))


def state(name: str, head: int) -> Tensor:
    """Every value head's state, values by keys."""
    return Tensor(name=name, dtype="float32", shape=("B", "HV", head, head))


def norm_weight(head: int) -> Tensor:
    """The gated norm's weight, the same for every head."""
    return Tensor(name="norm_weight", dtype="float32", shape=(head,))


def heads(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, head: int) -> tuple[Dimension, Dimension]:
    """Key heads and value heads."""
    return arithmetic.cdiv(sizes["C"] - sizes["HV"] * head, 2 * head), sizes["HV"]


def source(name: str) -> Path:
    """The kernel's file."""
    return Path(__file__).with_name(f"{name}.cu")


def variants_for(head: int, activations: tuple[str, ...] = ("float16", "bfloat16")) -> tuple[Variant, ...]:
    """A variant for each activation's type; `float32` exists for comparisons, and not for chunks."""
    return tuple(Variant(name=a, activation=a, macros={"HEAD": str(head)}) for a in activations)


def cases(
    inputs_of: Callable[[np.random.Generator, Sizes, str], dict[str, NDArray[Any]]], looser: float = 1.0
) -> Callable[[np.random.Generator, Sizes, Variant], Case]:
    """A kernel's `draw`, from what gives its inputs for an activation's type; `looser` than one rounding."""

    def draw(rng: np.random.Generator, sizes: Sizes, variant: Variant) -> Case:
        return Case(
            name=" ".join(f"{name}={size}" for name, size in sizes.items()),
            sizes=sizes,
            inputs=inputs_of(rng, sizes, variant.activation),
            tolerance=looser * ROUNDING[variant.activation],
        )

    return draw


def model_sizes(head: int, tokens: tuple[int, ...]) -> tuple[dict[str, int], ...]:
    """Heads of 0.8B and 2B, and of 4B to 35B-A3B."""
    return tuple(
        {"B": 1, "T": count, "C": (2 * 16 + value_heads) * head, "HV": value_heads}
        for value_heads in (16, 32)
        for count in tokens
    )


def draw_layer(rng: np.random.Generator, sizes: Sizes, activation: str, head: int) -> dict[str, NDArray[Any]]:
    """Inputs of the whole layer as a trained model has them: sizes B, T, C and HV."""
    batch, tokens, channels, heads = sizes["B"], sizes["T"], sizes["C"], sizes["HV"]
    kind = numpy_dtype(QKV, Variant(name="", activation=activation))

    def numbers(*shape: int, scale: float = 1.0) -> NDArray[Any]:
        return np.asarray(scale * rng.standard_normal(shape, np.float32)).astype(kind)

    return {
        "qkv": numbers(batch, tokens, channels),
        "z": numbers(batch, tokens, heads * head),
        "b": numbers(batch, tokens, heads, scale=2.0),
        "a": numbers(batch, tokens, heads),
        "conv_weight": numbers(channels, 1, TAPS, scale=0.5),
        # As the model is initialised, and as trained ones stay: decays from nearly none to nearly all.
        "A_log": np.log(rng.uniform(0.01, 16, heads)).astype(np.float32),
        "dt_bias": rng.uniform(-5, 1, heads).astype(np.float32),
        "norm_weight": rng.uniform(0.5, 1.5, head).astype(np.float32),
        "conv_state": numbers(batch, TAPS - 1, channels),
        "state": 0.5 * rng.standard_normal((batch, heads, head, head), np.float32),
    }
