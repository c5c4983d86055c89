"""The ranges of sizes that a plan is compiled for: least, usual and most of every axis that is not fixed.

Knows the axes of docs/engine-bundle.md; does not know the library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from lineside.engines.errors import EngineError

AXES = ("B", "T", "N")
"""Rows, new tokens of a row, rows of image embeddings."""


class BadRange(EngineError):
    """Sizes that no plan can be compiled for."""


@dataclass(frozen=True, slots=True)
class Range:
    """`least` ≤ `usual` ≤ `most`; kernels are chosen for `usual`."""

    least: int
    usual: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.usual <= self.most:
            raise BadRange(f"sizes {self.least}, {self.usual}, {self.most} do not go up from 1")

    @property
    def fixed(self) -> bool:
        """Whether there is one size only."""
        return self.least == self.most


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a decoder is compiled for. `context`: tokens of a cache; `rows`: asked side by side in a step.

    `prefill`: new tokens in one call; `pictures`: rows of image embeddings a call may bring.
    """

    context: int
    rows: int = 8
    prefill: int = 1024
    pictures: int = 4096

    def ranges(self) -> Mapping[str, Range]:
        """Each axis's range.

        Raises:
            BadRange: a size below 1.
        """
        prefill = min(self.prefill, self.context)
        return {
            "B": Range(1, 1, self.rows),
            "T": Range(1, min(256, prefill), prefill),
            "N": Range(1, min(300, self.pictures), self.pictures),
        }


Shape = tuple[int, ...]


def shapes_of(
    inputs: Sequence[onnx.ValueInfoProto], ranges: Mapping[str, Range]
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """(least, usual, most) shape of each input that has an axis of no fixed size.

    Raises:
        BadRange: an axis that nobody gave a range.
    """
    found: dict[str, tuple[Shape, Shape, Shape]] = {}
    for one in inputs:
        axes = one.type.tensor_type.shape.dim
        if not any(axis.HasField("dim_param") for axis in axes):
            continue
        each: list[Range] = []
        for axis in axes:
            if not axis.HasField("dim_param"):
                each.append(Range(axis.dim_value, axis.dim_value, axis.dim_value))
            elif axis.dim_param in ranges:
                each.append(ranges[axis.dim_param])
            else:
                raise BadRange(f"{one.name} has an axis {axis.dim_param} without a range")
        found[one.name] = (
            tuple(r.least for r in each),
            tuple(r.usual for r in each),
            tuple(r.most for r in each),
        )
    return found
