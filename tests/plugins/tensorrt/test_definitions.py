"""Every kernel as TensorRT would build it: NVIDIA's own plugin layer, over a stand-in for the library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorrt_stand_in
from hypothesis import given
from hypothesis import strategies as st
from scaled_add import KERNEL, launch
from tensorrt_stand_in import Built, DataType, build

from lineside.plugins.operator import (
    Dimension,
    Integers,
    Kernel,
    Launch,
    Tensor,
    Variant,
    output_shapes,
    sizes_of,
)
from lineside.plugins.operators import kernels
from lineside.plugins.ptx.compile import NEWEST_PTX
from lineside.plugins.ptx.entry import faults
from lineside.plugins.tensorrt import AlreadyDefined, TensorRTMissing, WrongNode, define, node_attributes

TYPES = {
    "float32": DataType.FLOAT,
    "float16": DataType.HALF,
    "bfloat16": DataType.BF16,
    "int32": DataType.INT32,
    "int8": DataType.INT8,
    "uint8": DataType.INT8,
}
ALL = [KERNEL, *kernels()]
VARIANTS = [(kernel, variant) for kernel in ALL for variant in kernel.variants]


def data_type(tensor: Tensor, variant: Variant) -> DataType:
    return TYPES[variant.activation if tensor.dtype == "activation" else tensor.dtype]


def symbols(kernel: Kernel) -> list[list[str | int]]:
    """Every input's shape with each dimension that is not a number left open."""
    return [
        [size if isinstance(size, int) else f"{tensor.name}.{axis}" for axis, size in enumerate(tensor.shape)]
        for tensor in kernel.inputs
    ]


def named(kernel: Kernel, shapes: Mapping[str, Sequence[Dimension]]) -> dict[str, int]:
    """The numbers of what `symbols` left open."""
    return {f"{name}.{axis}": size for name, shape in shapes.items() for axis, size in enumerate(shape)}


def built(kernel: Kernel, variant: Variant, types: list[DataType] | None = None) -> Built:
    attributes = {"variant": str(node_attributes(variant)["variant"])}
    given = types or [data_type(tensor, variant) for tensor in kernel.inputs]
    return build(kernel.name, given, symbols(kernel), attributes)


def shapes_at(kernel: Kernel, sizes: Mapping[str, int], variant: Variant) -> dict[str, tuple[int, ...]]:
    """The inputs' shapes for sizes by name, as `draw` makes them."""
    drawn = kernel.draw(np.random.default_rng(0), sizes, variant)
    return {name: array.shape for name, array in drawn.inputs.items()}


def stretched(kernel: Kernel, variant: Variant) -> list[Mapping[str, int]]:
    """The smallest of the kernel's own sizes, and, where it takes any number of tokens, one and hundreds."""
    smallest = min(kernel.sizes, key=lambda sizes: kernel.bytes_moved(sizes, variant))
    any_number = any("T" in tensor.shape for tensor in kernel.inputs)
    return [smallest, *(dict(smallest, T=tokens) for tokens in (1, 300) if any_number)]


@pytest.mark.parametrize(
    ("kernel", "variant"), VARIANTS, ids=[f"{kernel.name}-{variant.name}" for kernel, variant in VARIANTS]
)
def test_tensorrt_gets_what_the_integers_give(
    plugin: ModuleType, kept: Path, kernel: Kernel, variant: Variant
) -> None:
    define([kernel], "sm_87", kept)
    node = built(kernel, variant)

    assert node.output_types == [data_type(tensor, variant) for tensor in kernel.outputs]
    assert node.aliased == [-1] * len(kernel.outputs)
    assert node.kernel_name == kernel.name
    assert faults(kernel, "sm_87", node.ptx, NEWEST_PTX) == []
    for sizes in stretched(kernel, variant):
        shapes = shapes_at(kernel, sizes, variant)
        read = sizes_of(kernel, shapes)
        plain = kernel.launch(read, Integers(), variant)
        numbers = named(kernel, shapes)
        assert node.shapes_at(numbers) == [
            tuple(shape) for shape in output_shapes(kernel, read, variant).values()
        ]
        assert node.grid_at(numbers) == tuple(plain.grid)
        assert node.block_at(numbers) == tuple(plain.block)
        assert node.shared_at(numbers) == plain.shared_bytes
        assert node.scalars_at(numbers) == list(plain.scalars)
        assert all(0 < blocks < 2**31 for blocks in plain.grid)


def test_all_kernels_live_in_one_engine(plugin: ModuleType, kept: Path) -> None:
    identities = define(ALL, "sm_87", kept)

    assert identities == tuple(f"lineside::{kernel.name}" for kernel in ALL)


def test_the_ptx_is_for_the_chip_the_engine_is_built_on(plugin: ModuleType, kept: Path) -> None:
    define([KERNEL], "sm_110", kept)

    assert ".target sm_110" in built(KERNEL, KERNEL.variants[0]).ptx


def test_a_launch_may_put_numbers_left_of_dimensions(plugin: ModuleType, kept: Path) -> None:
    def arithmetic_of_all_kinds(sizes, arithmetic, variant) -> Launch:  # type: ignore[no-untyped-def]
        tokens = sizes["T"]
        total = (
            2 * tokens
            + (7 - tokens)
            + tokens * 3
            - 1
            + tokens // 3
            + 99 // tokens
            + arithmetic.min(4, 5) * arithmetic.max(tokens, 9)
        )
        return Launch(
            grid=(arithmetic.cdiv(1000, tokens), arithmetic.min(tokens, 4), arithmetic.max(3, tokens)),
            block=(32, 2, 1),
            shared_bytes=16 * tokens,
            scalars=(total,),
        )

    kernel = replace(KERNEL, launch=arithmetic_of_all_kinds)
    define([kernel], "sm_87", kept)
    node = built(kernel, kernel.variants[0])

    for tokens in (1, 8, 300):
        numbers = {"a.0": tokens, "a.1": 5, "b.0": tokens, "b.1": 5}
        plain = arithmetic_of_all_kinds({"T": tokens}, Integers(), None)
        assert node.grid_at(numbers) == plain.grid
        assert node.shared_at(numbers) == plain.shared_bytes
        assert node.scalars_at(numbers) == list(plain.scalars)


@cache
def _sample() -> Built:
    with tensorrt_stand_in.installed():
        define([KERNEL], "sm_87")
        return built(KERNEL, KERNEL.variants[0])


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_shapes_no_one_thought_of_agree_too(tokens: int, width: int) -> None:
    if tensorrt_stand_in.plugin_layer() is None:
        pytest.skip("the wheel tensorrt-cu13-bindings is not installed")
    numbers = {"a.0": tokens, "a.1": width, "b.0": tokens, "b.1": width}
    plain = launch({"T": tokens, "N": width}, Integers(), KERNEL.variants[0])

    assert _sample().grid_at(numbers) == plain.grid
    assert _sample().scalars_at(numbers) == list(plain.scalars)


# -- refusals -----------------------------------------------------------------------------------------


def test_a_second_definition_in_one_process_is_refused(plugin: ModuleType, kept: Path) -> None:
    define([KERNEL], "sm_87", kept)

    with pytest.raises(AlreadyDefined, match="another process"):
        define([KERNEL], "sm_110", kept)


def test_inputs_of_another_type_than_the_variants_are_refused(plugin: ModuleType, kept: Path) -> None:
    define([KERNEL], "sm_87", kept)

    with pytest.raises(
        WrongNode, match=r"scaled_add \(float16\): b is DataType\.HALF, must be DataType\.FLOAT"
    ):
        built(KERNEL, KERNEL.variants[0], [DataType.HALF, DataType.HALF])


def test_a_variant_there_is_not_is_refused(plugin: ModuleType, kept: Path) -> None:
    define([KERNEL], "sm_87", kept)

    with pytest.raises(WrongNode, match="no variant 'float64'; it has: float16, bfloat16"):
        built(KERNEL, replace(KERNEL.variants[0], name="float64"))


def test_inputs_of_another_rank_are_refused(plugin: ModuleType, kept: Path) -> None:
    define([KERNEL], "sm_87", kept)

    with pytest.raises(WrongNode, match="scaled_add: a has shape"):
        build("scaled_add", [DataType.HALF, DataType.FLOAT], [["T"], ["T", "N"]], {"variant": "float16"})


def _depends_on_if(sizes: Mapping[str, Dimension], arithmetic: object, variant: Variant) -> Launch:
    return Launch(grid=(1 if sizes["T"] else 2, 1, 1), block=(1, 1, 1), scalars=(1,))


def _one_scalar_too_many(sizes: Mapping[str, Dimension], arithmetic: object, variant: Variant) -> Launch:
    return Launch(grid=(1, 1, 1), block=(1, 1, 1), scalars=(1, 2))


def _divides(sizes: Mapping[str, Dimension], arithmetic: object, variant: Variant) -> Launch:
    return Launch(grid=(sizes["T"] / 2, 1, 1), block=(1, 1, 1), scalars=(1,))


@pytest.mark.parametrize(
    ("spoiled", "error", "said"),
    [
        (replace(KERNEL, launch=_depends_on_if), TypeError, "may not depend on `if`"),
        (replace(KERNEL, launch=_one_scalar_too_many), WrongNode, "names 1 scalars, gives 2"),
        (replace(KERNEL, launch=_divides), TypeError, "unsupported operand"),
        (
            replace(KERNEL, inputs=(KERNEL.inputs[0], replace(KERNEL.inputs[1], dtype="bool"))),
            WrongNode,
            "b is bool, which TensorRT's plugins do not take",
        ),
    ],
)
def test_a_kernel_that_breaks_the_rules_is_refused_when_built(
    plugin: ModuleType, kept: Path, spoiled: Kernel, error: type[Exception], said: str
) -> None:
    define([spoiled], "sm_87", kept)

    with pytest.raises(error, match=said):
        built(spoiled, spoiled.variants[0], [DataType.HALF, DataType.FLOAT])


@pytest.mark.parametrize(
    "spoiled",
    [
        replace(KERNEL, name="scaled.add"),
        replace(KERNEL, inputs=(*KERNEL.inputs, KERNEL.inputs[0])),
        replace(KERNEL, inputs=(replace(KERNEL.inputs[0], name="outputs"), KERNEL.inputs[1])),
        replace(KERNEL, inputs=(replace(KERNEL.inputs[0], name="in"), KERNEL.inputs[1])),
        replace(KERNEL, inputs=()),
    ],
    ids=["a dot in the name", "an input twice", "an input called outputs", "a Python word", "no inputs"],
)
def test_a_kernel_that_tensorrt_cannot_take_is_refused_when_defined(
    plugin: ModuleType, spoiled: Kernel
) -> None:
    with pytest.raises(ValueError, match=r"cannot have any '\.'|duplicate|not a valid|should come first"):
        define([spoiled], "sm_87")


# -- without TensorRT ---------------------------------------------------------------------------------


def test_without_tensorrt_one_is_told_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)

    with pytest.raises(TensorRTMissing, match="with JetPack"):
        define([KERNEL], "sm_87")


def test_a_tensorrt_without_ahead_of_time_plugins_is_refused(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(plugin, "KernelLaunchParams")

    with pytest.raises(TensorRTMissing, match=r"10\.9"):
        define([KERNEL], "sm_87")


def test_a_node_says_which_variant_it_wants() -> None:
    assert node_attributes(KERNEL.variants[1]) == {
        "plugin_namespace": "lineside",
        "plugin_version": "1",
        "aot": 1,
        "variant": "bfloat16",
    }
