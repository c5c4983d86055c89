"""The three kernels of the chunked prefill: tensors, launches and sizes. What they compute: `chunks.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.gated_delta_net import chunks
from lineside.plugins.gated_delta_net.chunks import CHUNK
from lineside.plugins.gated_delta_net.naive import TAPS
from lineside.plugins.gated_delta_net.tensors import (
    A_LOG,
    BETA,
    CONV_STATE,
    CONV_WEIGHT,
    DT_BIAS,
    LOG_DECAY,
    MIXED,
    NEXT_CONV_STATE,
    QKV,
    A,
    B,
    Sizes,
    by_value,
    cases,
    draw_layer,
    heads,
    model_sizes,
    norm_weight,
    source,
    state,
    variants_for,
)
from lineside.plugins.operator import Arithmetic, Dimension, Kernel, Launch, Tensor, Variant, numpy_dtype

NC = f"(T+{CHUNK - 1})//{CHUNK}"


def _of_chunks(head: int, chunks: str) -> tuple[Tensor, Tensor, Tensor]:
    return (
        Tensor(name="u", dtype="activation", shape=("B", "HV", chunks, head, CHUNK)),
        Tensor(name="w", dtype="activation", shape=("B", "HV", chunks, CHUNK, head)),
        Tensor(name="p", dtype="activation", shape=("B", "HV", chunks, CHUNK, CHUNK)),
    )


def prepare(head: int, activations: tuple[str, ...]) -> Kernel:
    """Convolution, unit lengths and gates."""
    names = ("qkv", "b", "a", "conv_weight", "A_log", "dt_bias", "conv_state")

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        key_heads, value_heads = heads(sizes, arithmetic, head)
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
        source=source("prepare"),
        inputs=(QKV, B, A, CONV_WEIGHT, A_LOG, DT_BIAS, CONV_STATE),
        outputs=(MIXED, LOG_DECAY, BETA, NEXT_CONV_STATE),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.prepare(inputs, head),
        draw=cases(inputs_of),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=model_sizes(head, (364, 1024)),
        decode=False,
    )


def solve(head: int, activations: tuple[str, ...]) -> Kernel:
    """What each chunk needs of itself alone."""

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        return Launch(
            grid=(arithmetic.cdiv(sizes["T"], CHUNK), sizes["HV"], sizes["B"]),
            block=(128, 1, 1),
            scalars=(sizes["T"], *heads(sizes, arithmetic, head)),
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
        kind = numpy_dtype(MIXED, Variant(name="", activation=activation))
        prepared["mixed"] = prepared["mixed"].astype(kind)
        return {name: prepared[name] for name in ("mixed", "log_decay", "beta")}

    return Kernel(
        name="gated_delta_net_solve",
        source=source("solve"),
        inputs=(MIXED, LOG_DECAY, BETA),
        outputs=_of_chunks(head, NC),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.solve(inputs, head),
        draw=cases(inputs_of, looser=2.0),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=model_sizes(head, (364, 1024)),
        decode=False,
    )


def scan(head: int, activations: tuple[str, ...]) -> Kernel:
    """The state from chunk to chunk, and the gated norm."""

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        return Launch(
            grid=(sizes["HV"], sizes["B"], 1),
            block=(2 * head, 1, 1),
            scalars=(sizes["T"], *heads(sizes, arithmetic, head)),
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
        kind = numpy_dtype(MIXED, Variant(name="", activation=activation))
        prepared = chunks.prepare(layer, head)
        solved = chunks.solve(prepared, head)
        halved = {name: x.astype(kind) for name, x in {**solved, "mixed": prepared["mixed"]}.items()}
        kept = {name: layer[name] for name in ("z", "norm_weight", "state")}
        return {**halved, **kept, "log_decay": prepared["log_decay"]}

    return Kernel(
        name="gated_delta_net_scan",
        source=source("scan"),
        inputs=(
            MIXED,
            LOG_DECAY,
            *_of_chunks(head, "NC"),
            by_value("z", head),
            norm_weight(head),
            state("state", head),
        ),
        outputs=(by_value("y", head), state("next_state", head)),
        scalars=("tokens", "key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: chunks.scan(inputs, head),
        draw=cases(inputs_of, looser=2.0),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=model_sizes(head, (364, 1024)),
        decode=False,
    )
