"""The Gated DeltaNet kernels for TensorRT and the checks; `operator_for` makes them for any head size."""

from __future__ import annotations

from collections.abc import Mapping

from lineside.plugins.gated_delta_net.chunk_shapes import prepare, scan, solve
from lineside.plugins.gated_delta_net.naive import TAPS, gated_delta_net
from lineside.plugins.gated_delta_net.tensors import (
    A_LOG,
    CONV_STATE,
    CONV_WEIGHT,
    DT_BIAS,
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
from lineside.plugins.operator import (
    Arithmetic,
    Dimension,
    Kernel,
    Launch,
    Operator,
    Tensor,
    Variant,
)


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
            prepare(head, activations),
            solve(head, sixteen_bit),
            scan(head, sixteen_bit),
        ),
    )


def _whole(head: int, activations: tuple[str, ...], *, decode: bool) -> Kernel:
    """The layer in one launch: one token (decode), or any number one after another (recurrent)."""

    def launch(sizes: Mapping[str, Dimension], arithmetic: Arithmetic, variant: Variant) -> Launch:
        length = () if decode else (sizes["T"],)
        return Launch(
            grid=(sizes["HV"], sizes["B"], 1),
            block=(4 * head, 1, 1),
            scalars=(*length, *heads(sizes, arithmetic, head)),
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
    any_length = (QKV, by_value("z", head), B, A)
    projections = tuple(Tensor(name=n, dtype="activation", shape=s) for n, s in one) if decode else any_length
    y = Tensor(name="y", dtype="activation", shape=("B", 1 if decode else "T", f"HV*{head}"))
    return Kernel(
        name=f"gated_delta_net_{'decode' if decode else 'recurrent'}",
        source=source("decode" if decode else "recurrent"),
        inputs=(
            *projections,
            CONV_WEIGHT,
            A_LOG,
            DT_BIAS,
            norm_weight(head),
            CONV_STATE,
            state("state", head),
        ),
        outputs=(y, NEXT_CONV_STATE, state("next_state", head)),
        scalars=(() if decode else ("tokens",)) + ("key_heads", "value_heads"),
        variants=variants_for(head, activations),
        launch=launch,
        naive=lambda inputs, variant: gated_delta_net(inputs),
        draw=cases(lambda rng, sizes, activation: draw_layer(rng, sizes, activation, head)),
        bytes_moved=bytes_moved,
        flops=flops,
        sizes=model_sizes(head, (1,) if decode else (64, 364, 1024)),
        decode=decode,
    )


OPERATOR = operator_for(128)
