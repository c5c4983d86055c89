"""A bundle's graphs again, as TensorRT takes them: a step, a prefill, and the tower for one picture size.

Knows which axes are fixed in which graph; does not know the library that compiles them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lineside.engines.config import TextConfig, VisionConfig
from lineside.engines.graph.builder import Array
from lineside.engines.graph.decoder import describe_decoder
from lineside.engines.graph.dialects.given import Rounding
from lineside.engines.graph.dialects.tensorrt import TensorRtDialect
from lineside.engines.graph.dialects.tensorrt_plugins import TensorRtPluginDialect, refusal
from lineside.engines.graph.fed import FedGraph, Shelf, WeightSource
from lineside.engines.graph.vision import describe_vision
from lineside.engines.positions import vision_positions
from lineside.engines.tensorrt.library import Library
from lineside.engines.tensorrt.stored_graph import ShapesOnly


@dataclass(frozen=True, slots=True)
class Dialects:
    """How each graph is said for one library. `plugins`: whether our kernels are in the decoder's."""

    step: TensorRtDialect
    prefill: TensorRtDialect
    vision: TensorRtDialect
    plugins: bool


def dialects_for(library: Library, config: TextConfig, rounding: Rounding = "stored") -> Dialects:
    """TensorRT gets our kernels; TensorRT-RTX, which takes none, basic operators.

    TensorRT-RTX 1.7 ends its process over native attention with a number of tokens that is not fixed; the
    products that it is made of are fused into the same kernel (docs/tensorrt.md).
    """
    vision = TensorRtDialect(exact_kind="float16", rounding=rounding)
    if library.takes_plugins and refusal(config) is None:
        return Dialects(
            step=TensorRtPluginDialect(call="step", rounding=rounding),
            prefill=TensorRtPluginDialect(call="prefill", rounding=rounding),
            vision=vision,
            plugins=True,
        )
    return Dialects(
        step=TensorRtDialect(call="step", rounding=rounding),
        prefill=TensorRtDialect(call="prefill", rounding=rounding, attention="products"),
        vision=vision,
        plugins=False,
    )


def decoder_graph(
    dialect: TensorRtDialect, source: WeightSource, shelf: Shelf | None, config: TextConfig, context: int
) -> FedGraph:
    """The decoder for the dialect's call: a step of one token a row, or a prefill of any number.

    `context`: the cache's capacity, which TensorRT wants to know beforehand.

    Logits are given for one place: the last token in a step, `logit_positions` [1] in a prefill. A step
    takes no pictures.

    Raises:
        IncompatibleBundle: the source lacks a weight, or has it in another shape.
    """
    baked: Mapping[str, Array] = {}
    sizes = {"K": 1, "S": context}
    if dialect.call == "step":
        sizes["T"] = 1
        baked = {
            "image_embeds": np.zeros((1, config.hidden), np.float32),
            "image_index": np.full((1, 1), -1, np.int64),
            "logit_positions": np.zeros(1, np.int64),
        }
    graph = FedGraph(dialect.call, source, shelf, baked=baked, sizes=sizes)
    describe_decoder(graph, dialect, ShapesOnly(), config)
    return graph


def vision_graph(
    dialect: TensorRtDialect,
    source: WeightSource,
    shelf: Shelf | None,
    config: VisionConfig,
    grid: tuple[int, int],
) -> FedGraph:
    """The vision tower for one picture of `grid` (rows, columns of patches), its positions baked in.

    Raises:
        IncompatibleBundle: as `decoder_graph` does.
    """
    places = vision_positions(
        *grid,
        merge=config.merge,
        table_side=config.position_side,
        head_dim=config.head_dim,
        theta=config.rope_theta,
    )
    baked: dict[str, Array] = {
        "position_index": places.index,
        "position_weight": places.weight,
        "rope_cos": places.cos,
        "rope_sin": places.sin,
    }
    patches = grid[0] * grid[1]
    sizes = {"B": 1, "P": patches, "M": patches // config.merge**2}
    graph = FedGraph(f"vision-{grid[0]}x{grid[1]}", source, shelf, baked=baked, sizes=sizes)
    describe_vision(graph, dialect, ShapesOnly(), config)
    return graph
