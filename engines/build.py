"""Builds the ONNX graphs of a Qwen3.5 checkpoint, with no PyTorch.

Reads one tensor at a time and writes it at once where the model is large. Does not run anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import onnx

from lineside.engines.config import ModelConfig, read_config
from lineside.engines.errors import UnsupportedModel
from lineside.engines.graph.builder import GraphBuilder, WeightsFile
from lineside.engines.graph.decoder import describe_decoder
from lineside.engines.graph.dialects.base import Dialect, RecurrentLayout
from lineside.engines.graph.dialects.onnxruntime import OnnxRuntimeDialect
from lineside.engines.graph.dialects.plain import PlainDialect
from lineside.engines.graph.vision import describe_vision
from lineside.engines.weights import Checkpoint, open_checkpoint

DialectName = Literal["onnxruntime", "plain"]
LinearAttentionOperator = Literal["linear_attention", "gated_delta_net"]

# A protobuf file ends at 2 GB; well before that, weights go beside the graph, where runtimes can map them.
EXTERNAL_ABOVE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """What was written. `vision` is None for a text-only model; `weights` lie beside the graphs, if any."""

    decoder: Path
    vision: Path | None
    weights: tuple[Path, ...]
    dialect: str
    recurrent_layout: RecurrentLayout
    config: ModelConfig


def build_graphs(
    checkpoint_dir: Path,
    out_dir: Path,
    dialect: DialectName = "onnxruntime",
    linear_attention: LinearAttentionOperator = "linear_attention",
    *,
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES,
) -> GraphFiles:
    """Writes `decoder.onnx` and, for a multimodal model, `vision.onnx` into `out_dir`.

    `linear_attention`: the operator of the onnxruntime dialect that runs the delta rule:
    `linear_attention` for CPUs, `gated_delta_net` for CUDA.

    Raises:
        UnsupportedModel: the checkpoint cannot be read, or asks for something the builder does not implement.
    """
    config = read_config(checkpoint_dir)
    checkpoint = open_checkpoint(checkpoint_dir)
    spoken = choose_dialect(dialect, linear_attention)
    out_dir.mkdir(parents=True, exist_ok=True)
    beside = _float32_bytes(checkpoint) > external_above_bytes
    weights = [
        _write(out_dir, "decoder", beside, lambda g: describe_decoder(g, spoken, checkpoint, config.text))
    ]
    vision = config.vision
    if vision is not None:
        weights.append(
            _write(out_dir, "vision", beside, lambda g: describe_vision(g, spoken, checkpoint, vision))
        )
    return GraphFiles(
        decoder=out_dir / "decoder.onnx",
        vision=out_dir / "vision.onnx" if vision is not None else None,
        weights=tuple(w for w in weights if w is not None),
        dialect=spoken.name,
        recurrent_layout=spoken.recurrent_layout,
        config=config,
    )


def choose_dialect(name: DialectName, linear_attention: LinearAttentionOperator) -> Dialect:
    """The dialect called `name`.

    Raises:
        UnsupportedModel: no such dialect.
    """
    if name == "onnxruntime":
        return OnnxRuntimeDialect(linear_attention)
    if name == "plain":
        return PlainDialect()
    raise UnsupportedModel(f"dialect is {name!r}; supported: onnxruntime, plain.")


def _write(out_dir: Path, name: str, beside: bool, describe: Callable[[GraphBuilder], None]) -> Path | None:
    with ExitStack() as stack:
        weights = stack.enter_context(WeightsFile(out_dir / f"{name}.onnx.data")) if beside else None
        graph = GraphBuilder(name, weights)
        describe(graph)
    onnx.save_model(graph.model(), out_dir / f"{name}.onnx")
    return weights.path if weights is not None else None


def _float32_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(prod(checkpoint.shape(name)) for name in checkpoint.names)
