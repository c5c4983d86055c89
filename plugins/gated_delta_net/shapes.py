"""Tensors, launches and sizes of the Gated DeltaNet kernels; `operator_for` makes them for any head size.

Sizes by name: B sequences, T tokens, C channels of the convolution, HV value heads, NC chunks; the number of
key heads follows from C = (2 HK + HV) * head size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net import chunks
from lineside.plugins.gated_delta_net.chunks import CHUNK
from lineside.plugins.gated_delta_net.naive import TAPS, gated_delta_net
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

ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-5}
"""Error that an activation's type alone explains, relative to the largest value of an output."""

NC = f"(T+{CHUNK - 1})//{CHUNK}"

Inputs = Mapping[str, NDArray[Any]]
Sizes = Mapping[str, int]


def variants_for(head: int, activations: tuple[str, ...] = ("float16", "bfloat16")) -> tuple[Variant, ...]:
    """A variant for each activation's type; `float32` exists for comparisons, and not for chunks."""
    return tuple(Variant(name=a, activation=a, macros={"HEAD": str(head)}) for a in activations)


def operator_for(head: int, activations: tuple[str, ...] = ("float16", "bfloat16")) -> Operator:
    """The kernels for heads of 32, 64 or 128 numbers. Raises ValueError for any other size."""
    if head not in (32, 64, 128):
        raise ValueError(f"the Gated DeltaNet kernels are written for heads of 32, 64 or 128, not {head}")
    sixteen_bit = tuple(a for a in activations if a != "float32")
    return Operator(
        name="gated_delta_net",
        kernels=(
            _whole(head, activations, decode=True),
            _whole(head, activations, decode=False),
            _prepare(head, activations),
            _solve(head, sixteen_bit),
            _scan(head, sixteen_bit),
        ),
    )


def draw_layer(rng: np.random.Generator, sizes: Sizes, activation: str, head: int) -> dict[str, NDArray[Any]]:
    """Inputs of the whole layer as a trained model has them: sizes B, T, C and HV."""
    batch, tokens, channels, heads = sizes["B"], sizes["T"], sizes["C"], sizes["HV"]
    kind = numpy_dtype(_QKV, Variant(name="", activation=activation))

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


_QKV = Tensor(name="qkv", dtype="activation", shape=("B", "T", "C"))
_A = Tensor(name="a", dtype="activation", shape=("B", "T", "HV"))
_B = Tensor(name="b", dtype="activation", shape=("B", "T", "HV"))
_CONV_WEIGHT = Tensor(name="conv_weight", dtype="activation", shape=("C", 1, TAPS))
_A_LOG = Tensor(name="A_log", dtype="float32", shape=("HV",))
_DT_BIAS = Tensor(name="dt_bias", dtype="float32", shape=("HV",))
_CONV_STATE = Tensor(name="conv_state", dtype="activation", shape=("B", TAPS - 1, "C"))
_NEXT_CONV_STATE = Tensor(name="next_conv_state", dtype="activation", shape=("B", TAPS - 1, "C"))
_MIXED = Tensor(name="mixed", dtype="activation", shape=("B", "T", "C"))
_LOG_DECAY = Tensor(name="log_decay", dtype="float32", shape=("B", "HV", "T"))
_BETA = Tensor(name="beta", dtype="float32", shape=("B", "HV", "T"))


def _by_value(name: str, head: int) -> Tensor:
    return Tensor(name=name, dtype="activation", shape=("B", "T", f"HV*{head}"))


def _state(name: str, head: int) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=("B", "HV", head, head))


def _norm_weight(head: int) -> Tensor:
    return Tensor(name="norm_weight", dtype="float32", shape=(head,))


def _of_chunks(head: int, chunks: str) -> tuple[Tensor, Tensor, Tensor]:
    return (
        Tensor(name="u", dtype="activation", shape=("B", "HV", chunks, head, CHUNK)),
        Tensor(name="w", dtype="activation", shape=("B", "HV", chunks, CHUNK, head)),
        Tensor(name="p", dtype="activation", shape=("B", "HV", chunks, CHUNK, CHUNK)),
    )


def _heads(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, head: int) -> tuple[Dimension, Dimension]:
    """Key heads and value heads."""
    return arithmetic.cdiv(sizes["C"] - sizes["HV"] * head, 2 * head), sizes["HV"]


def _source(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.cu")


def _cases(
    inputs_of: Callable[[np.random.Generator, Sizes, str], dict[str, NDArray[Any]]], looser: float = 1.0
) -> Callable[[np.random.Generator, Sizes, Variant], Case]:
    def draw(rng: np.random.Generator, sizes: Sizes, variant: Variant) -> Case:
        return Case(
            name=" ".join(f"{name}={size}" for name, size in sizes.items()),
            sizes=sizes,
            inputs=inputs_of(rng, sizes, variant.activation),
            tolerance=looser * ROUNDING[variant.activation],
        )

    return draw


def _model_sizes(head: int, tokens: tuple[int, ...]) -> tuple[dict[str, int], ...]:
    """Heads of 0.8B and 2B, and of 4B to 35B-A3B."""
    return tuple(
        {"B": 1, "T": count, "C": (2 * 16 + value_heads) * head, "HV": value_heads}
        for value_heads in (16, 32)
        for count in tokens
    )


def _whole(head: int, activations: tuple[str, ...], *, decode: bool) -> Kernel:
    """The layer in one launch: one token (decode), or any number one after another (recurrent)."""

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        length = () if decode else (sizes["T"],)
        return Launch(
            grid=(sizes["HV"], sizes["B"], 1),
            block=(4 * head, 1, 1),
            scalars=(*length, *_heads(sizes, arithmetic, head)),
        )

    def bytes_moved(sizes: Sizes, variant: Variant) -> int:
        """Both states in and out, the projections in, y out, the convolution's weights."""
        tokens = sizes["B"] * sizes["T"]
        state = 2 * 4 * sizes["B"] * sizes["HV"] * head * head
        activations = tokens * (sizes["C"] + 2 * sizes["HV"] * (head + 1))
        convolution = sizes["C"] * (TAPS + 2 * sizes["B"] * (TAPS - 1))
        return state + 2 * (activations + convolution)

    def flops(sizes: Sizes, variant: Variant) -> int:
        """Two products with the state and its update, and the convolution."""
        tokens = sizes["B"] * sizes["T"]
        return tokens * (8 * sizes["HV"] * head * head + 2 * TAPS * sizes["C"])

    one = (
        ("qkv", ("B", 1, "C")),
        ("z", ("B", 1, f"HV*{head}")),
        ("b", ("B", 1, "HV")),
        ("a", ("B", 1, "HV")),
    )
    any_length = (_QKV, _by_value("z", head), _B, _A)
    projections = tuple(Tensor(name=n, dtype="activation", shape=s) for n, s in one) if decode else any_length
    y = Tensor(name="y", dtype="activation", shape=("B", 1 if decode else "T", f"HV*{head}"))
    return Kernel(
        name=f"gated_delta_net_{'decode' if decode else 'recurrent'}",
        source=_source("decode" if decode else "recurrent"),
        inputs=(
            *projections,
            _CONV_WEIGHT,
            _A_LOG,
            _DT_BIAS,
            _norm_weight(head),
            _CONV_STATE,
            _state("state", head),
        ),
        outputs=(y, _NEXT_CONV_STATE, _state("next_state", head)),
        scalars=(() if decode else ("tokens",)) + ("key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: gated_delta_net(inputs),
        draw=_cases(lambda rng, sizes, activation: draw_layer(rng, sizes, activation, head)),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=_model_sizes(head, (1,) if decode else (64, 364, 1024)),
        decode=decode,
    )


def _prepare(head: int, activations: tuple[str, ...]) -> Kernel:
    names = ("qkv", "b", "a", "conv_weight", "A_log", "dt_bias", "conv_state")

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        key_heads, value_heads = _heads(sizes, arithmetic, head)
        return Launch(
            grid=(arithmetic.cdiv(sizes["T"], CHUNK), key_heads * 2 + value_heads, sizes["B"]),
            block=(128, 1, 1),
            scalars=(sizes["T"], key_heads, value_heads),
        )

    def inputs_of(rng: np.random.Generator, sizes: Sizes, activation: str) -> dict[str, NDArray[Any]]:
        layer = draw_layer(rng, sizes, activation, head)
        return {name: layer[name] for name in names}

    def bytes_moved(sizes: Sizes, variant: Variant) -> int:
        tokens = sizes["B"] * sizes["T"]
        convolution = sizes["C"] * (TAPS + 2 * sizes["B"] * (TAPS - 1))
        return 2 * (tokens * (2 * sizes["C"] + 2 * sizes["HV"]) + convolution) + 8 * tokens * sizes["HV"]

    def flops(sizes: Sizes, variant: Variant) -> int:
        return sizes["B"] * sizes["T"] * sizes["C"] * (2 * TAPS + 6)

    return Kernel(
        name="gated_delta_net_prepare",
        source=_source("prepare"),
        inputs=(_QKV, _B, _A, _CONV_WEIGHT, _A_LOG, _DT_BIAS, _CONV_STATE),
        outputs=(_MIXED, _LOG_DECAY, _BETA, _NEXT_CONV_STATE),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.prepare(inputs, head),
        draw=_cases(inputs_of),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=_model_sizes(head, (364, 1024)),
        decode=False,
    )


def _solve(head: int, activations: tuple[str, ...]) -> Kernel:
    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        return Launch(
            grid=(arithmetic.cdiv(sizes["T"], CHUNK), sizes["HV"], sizes["B"]),
            block=(128, 1, 1),
            scalars=(sizes["T"], *_heads(sizes, arithmetic, head)),
        )

    def bytes_moved(sizes: Sizes, variant: Variant) -> int:
        tokens, padded = sizes["B"] * sizes["T"], sizes["B"] * -(-sizes["T"] // CHUNK) * CHUNK
        return 2 * tokens * (sizes["C"] + 4 * sizes["HV"]) + 2 * padded * sizes["HV"] * (2 * head + CHUNK)

    def flops(sizes: Sizes, variant: Variant) -> int:
        """Four products of a chunk with itself, half of them below the diagonal, and the inverse."""
        chunk_heads = sizes["B"] * sizes["HV"] * -(-sizes["T"] // CHUNK)
        return chunk_heads * (4 * CHUNK * CHUNK * head + CHUNK**3 // 3)

    def inputs_of(rng: np.random.Generator, sizes: Sizes, activation: str) -> dict[str, NDArray[Any]]:
        prepared = chunks.prepare(draw_layer(rng, sizes, activation, head), head)
        kind = numpy_dtype(_MIXED, Variant(name="", activation=activation))
        prepared["mixed"] = prepared["mixed"].astype(kind)
        return {name: prepared[name] for name in ("mixed", "log_decay", "beta")}

    return Kernel(
        name="gated_delta_net_solve",
        source=_source("solve"),
        inputs=(_MIXED, _LOG_DECAY, _BETA),
        outputs=_of_chunks(head, NC),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.solve(inputs, head),
        draw=_cases(inputs_of, looser=2.0),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=_model_sizes(head, (364, 1024)),
        decode=False,
    )


def _scan(head: int, activations: tuple[str, ...]) -> Kernel:
    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        return Launch(
            grid=(sizes["HV"], sizes["B"], 1),
            block=(2 * head, 1, 1),
            scalars=(sizes["T"], *_heads(sizes, arithmetic, head)),
        )

    def bytes_moved(sizes: Sizes, variant: Variant) -> int:
        tokens, padded = sizes["B"] * sizes["T"], sizes["B"] * -(-sizes["T"] // CHUNK) * CHUNK
        key_channels = sizes["C"] - sizes["HV"] * head
        rows = 2 * tokens * (key_channels + 2 * sizes["HV"] * (head + 1))
        state = 2 * 4 * sizes["B"] * sizes["HV"] * head * head
        return rows + state + 2 * padded * sizes["HV"] * (2 * head + CHUNK)

    def flops(sizes: Sizes, variant: Variant) -> int:
        """Three products with the state, and half a chunk with itself."""
        chunk_heads = sizes["B"] * sizes["HV"] * -(-sizes["T"] // CHUNK)
        return chunk_heads * (6 * CHUNK * head * head + CHUNK * CHUNK * head)

    def inputs_of(rng: np.random.Generator, sizes: Sizes, activation: str) -> dict[str, NDArray[Any]]:
        layer = draw_layer(rng, sizes, activation, head)
        kind = numpy_dtype(_MIXED, Variant(name="", activation=activation))
        prepared = chunks.prepare(layer, head)
        solved = chunks.solve(prepared, head)
        halved = {name: x.astype(kind) for name, x in {**solved, "mixed": prepared["mixed"]}.items()}
        kept = {name: layer[name] for name in ("z", "norm_weight", "state")}
        return {**halved, **kept, "log_decay": prepared["log_decay"]}

    return Kernel(
        name="gated_delta_net_scan",
        source=_source("scan"),
        inputs=(
            _MIXED,
            _LOG_DECAY,
            *_of_chunks(head, "NC"),
            _by_value("z", head),
            _norm_weight(head),
            _state("state", head),
        ),
        outputs=(_by_value("y", head), _state("next_state", head)),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.scan(inputs, head),
        draw=_cases(inputs_of, looser=2.0),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=_model_sizes(head, (364, 1024)),
        decode=False,
    )


OPERATOR = operator_for(128)
