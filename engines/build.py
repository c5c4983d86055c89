"""Builds the ONNX graphs of a Qwen3.5 checkpoint, and the bundle they ship in, with no PyTorch.

Reads one tensor at a time and writes it at once where the model is large. Does not run anything.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import onnx

from lineside.engines.bundle import write_bundle
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

# What else of a checkpoint's folder an engine reads, where it is there.
_OPTIONAL_FILES = (
    "video_preprocessor_config.json",
    "generation_config.json",
    "familiarity.safetensors",
    "report.json",
    "report.md",
)


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


def build_bundle(
    checkpoint_dir: Path,
    out: Path,
    *,
    name: str,
    version: str,
    licence: str,
    source: Mapping[str, str],
    dialect: DialectName = "onnxruntime",
    linear_attention: LinearAttentionOperator = "linear_attention",
    context_tokens: int | None = None,
    is_demo: bool = False,
    scope: Sequence[Mapping[str, object]] | None = None,
    card: Mapping[str, object] | None = None,
) -> str:
    """Builds a checkpoint's graphs and writes them with all else an engine needs; gives the bundle's digest.

    `out` that ends in `.lsengine` becomes an archive, anything else a folder. `source`: model and revision.
    `context_tokens`: None takes what the model was made for. The rest is docs/engine-bundle.md's.

    Raises:
        UnsupportedModel: the checkpoint cannot be built from, or lacks a file that an engine needs.
        DamagedBundle: fields that make no manifest.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the result, not in the system's temporary folder: graphs may be larger than that holds.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
        folder = Path(place)
        _copy_checkpoint_files(checkpoint_dir, folder)
        graphs = build_graphs(checkpoint_dir, folder / "onnx", dialect, linear_attention)
        described = [graphs.decoder, *([graphs.vision] if graphs.vision is not None else [])]
        build: dict[str, object] = {
            **{graph.stem: f"onnx/{graph.name}" for graph in described},
            "dialect": graphs.dialect,
            "recurrent_layout": graphs.recurrent_layout,
            "inputs": {graph.stem: _signature(graph, "input") for graph in described},
            "outputs": {graph.stem: _signature(graph, "output") for graph in described},
        }
        fields: dict[str, object] = {
            "name": name,
            "version": version,
            "source": dict(source),
            "licence": licence,
            "precision": "fp32",
            "is_demo": is_demo,
            "context_tokens": context_tokens or graphs.config.text.max_positions,
            "builds": {"onnx": build},
            "card": dict(card or {}),
        }
        if scope is not None:
            fields["scope"] = [dict(entry) for entry in scope]
        return write_bundle(folder, fields, out)


def _copy_checkpoint_files(checkpoint_dir: Path, folder: Path) -> None:
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json"):
        if not (checkpoint_dir / name).is_file():
            raise UnsupportedModel(f"{checkpoint_dir}: {name} is missing. An engine needs it: download it.")
        shutil.copyfile(checkpoint_dir / name, folder / name)
    (folder / "chat_template.jinja").write_text(_chat_template(checkpoint_dir), "utf-8")
    for name in _OPTIONAL_FILES:
        if (checkpoint_dir / name).is_file():
            shutil.copyfile(checkpoint_dir / name, folder / name)


def _chat_template(checkpoint_dir: Path) -> str:
    """The checkpoint's template: a file of its own, or inside a JSON file, as older checkpoints have it."""
    plain = checkpoint_dir / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text("utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (checkpoint_dir / name).is_file():
            template = json.loads((checkpoint_dir / name).read_text("utf-8")).get("chat_template")
            if isinstance(template, str):
                return template
    raise UnsupportedModel(f"{checkpoint_dir}: no chat template (chat_template.jinja). Download it.")


def _signature(graph: Path, side: Literal["input", "output"]) -> dict[str, list[int | str]]:
    """Names and shapes of what a written graph takes or gives."""
    model = onnx.load(graph, load_external_data=False)
    values = model.graph.input if side == "input" else model.graph.output
    return {
        value.name: [
            dim.dim_param if dim.HasField("dim_param") else dim.dim_value
            for dim in value.type.tensor_type.shape.dim
        ]
        for value in values
    }


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
