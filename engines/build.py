"""Builds the ONNX graphs of a Qwen3.5 checkpoint, and the bundle they ship in, with no PyTorch.

Weights go from the checkpoint's files to the bundle's a few megabytes at a time, so that memory does not
grow with the model. Does not run the result; see `quantise/calibrate.py` for what runs before.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Literal

import onnx

from lineside.engines.adapters import open_adapter
from lineside.engines.bundle import write_bundle
from lineside.engines.checkpoint import copy_engine_files
from lineside.engines.config import ModelConfig, read_config
from lineside.engines.errors import UnsupportedModel
from lineside.engines.graph.builder import GraphBuilder, WeightsFile
from lineside.engines.graph.decoder import describe_decoder
from lineside.engines.graph.dialects.base import Dialect, RecurrentLayout
from lineside.engines.graph.dialects.onnxruntime import OnnxRuntimeDialect
from lineside.engines.graph.dialects.plain import PlainDialect
from lineside.engines.graph.vision import describe_vision
from lineside.engines.progress import CountedTensors, Progress
from lineside.engines.quantise.blocks import Floats
from lineside.engines.quantise.calibrate import calibrate
from lineside.engines.quantise.forms import Choice, Precision, WeightForms
from lineside.engines.room import check_room, machine_errors, room_needed
from lineside.engines.weights import Checkpoint, TensorSource, open_checkpoint

DialectName = Literal["onnxruntime", "plain"]
LinearAttentionOperator = Literal["linear_attention", "gated_delta_net"]

# A protobuf file is in memory as a whole while it is written and while it is loaded: beyond what a small
# model takes, weights go beside the graph, where runtimes can map them.
EXTERNAL_ABOVE_BYTES = 64_000_000
QUANTISATION_FILE = "quantisation.json"


@dataclass(frozen=True, slots=True)
class Storage:
    """How weights are stored. `vision`: the tower's precision; None takes what was measured to be best.

    `head_bits`: of the output head of an int4 model, which the embedding shares where the model ties them.
    """

    precision: Precision = "fp32"
    vision: Precision | None = None
    head_bits: Literal[4, 8] = 4

    @property
    def vision_precision(self) -> Precision:
        """A rounded decoder has its tower in 8 bits: four would be seen in what it sees (docs/engines.md)."""
        if self.vision is not None:
            return self.vision
        return "int8" if self.precision == "int4" else self.precision


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """What was written. `vision` is None for a text-only model; `weights` lie beside the graphs, if any.

    `choices`: in which form each rounded matrix is stored, and what that costs.
    """

    decoder: Path
    vision: Path | None
    weights: tuple[Path, ...]
    dialect: str
    recurrent_layout: RecurrentLayout
    config: ModelConfig
    choices: tuple[Choice, ...] = field(default=())


def build_graphs(
    checkpoint_dir: Path,
    out_dir: Path,
    dialect: DialectName = "onnxruntime",
    linear_attention: LinearAttentionOperator = "linear_attention",
    *,
    storage: Storage | None = None,
    tensors: TensorSource | None = None,
    samples: Mapping[str, Floats] | None = None,
    external_above_bytes: int = EXTERNAL_ABOVE_BYTES,
) -> GraphFiles:
    """Writes `decoder.onnx` and, for a multimodal model, `vision.onnx` into `out_dir`.

    `linear_attention`: the operator of the onnxruntime dialect that runs the delta rule:
    `linear_attention` for CPUs, `gated_delta_net` for CUDA. `tensors`: the checkpoint's weights as they are
    to be built, where that is not as they are stored; `samples`: see `WeightForms`.

    Raises:
        UnsupportedModel: the checkpoint cannot be read, or asks for something the builder does not implement.
    """
    storage = storage or Storage()
    config = read_config(checkpoint_dir)
    checkpoint = open_checkpoint(checkpoint_dir)
    source = tensors if tensors is not None else checkpoint
    forms = WeightForms(storage.precision, storage.head_bits, samples or {})
    spoken = choose_dialect(dialect, linear_attention, forms)
    out_dir.mkdir(parents=True, exist_ok=True)
    beside = _float32_bytes(checkpoint) > external_above_bytes
    weights = _write(out_dir, "decoder", beside, lambda g: describe_decoder(g, spoken, source, config.text))
    choices = list(forms.choices)
    vision = config.vision
    if vision is not None:
        seen = WeightForms(storage.vision_precision)
        tower = choose_dialect(dialect, linear_attention, seen)
        weights += _write(out_dir, "vision", beside, lambda g: describe_vision(g, tower, source, vision))
        choices += seen.choices
    return GraphFiles(
        decoder=out_dir / "decoder.onnx",
        vision=out_dir / "vision.onnx" if vision is not None else None,
        weights=weights,
        dialect=spoken.name,
        recurrent_layout=spoken.recurrent_layout,
        config=config,
        choices=tuple(choices),
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
    storage: Storage | None = None,
    adapter: Path | None = None,
    calibration_images: Path | None = None,
    raw: bool = False,
    context_tokens: int | None = None,
    is_demo: bool = False,
    scope: Sequence[Mapping[str, object]] | None = None,
    card: Mapping[str, object] | None = None,
    selftest: bool = False,
    progress: Progress | None = None,
) -> str:
    """Builds a checkpoint's graphs and writes them with all else an engine needs; gives the bundle's digest.

    `out` that ends in `.lsengine` becomes an archive, anything else a folder; it appears whole or not at all.
    `source`: model and revision. `adapter`: a LoRA adapter to merge. `calibration_images`: a folder of the
    user's own pictures to choose scales by. `raw`: a base model, without a chat template. `context_tokens`:
    None takes what the model was made for. `selftest`: run the engine once for vectors that `verify` asks for
    again (`engines/selftest.py`). The rest is docs/engine-bundle.md's.

    Raises:
        UnsupportedModel: the checkpoint cannot be built from, or lacks a file that an engine needs.
        NotEnoughMemory: for the self-test, which loads the whole engine.
        CannotBuild: no room on the disk, or not enough memory.
        DamagedBundle: fields that make no manifest.
    """
    storage = storage or Storage()
    config = read_config(checkpoint_dir)
    checkpoint = open_checkpoint(checkpoint_dir)
    progress = progress or Progress()
    with machine_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        needed = room_needed(
            checkpoint, storage.precision, calibrate=calibration_images is not None, selftest=selftest
        )
        progress.forecast(str(needed))
        check_room(needed, out)
        tensors: TensorSource = checkpoint if adapter is None else open_adapter(adapter, checkpoint)
        # Beside the result, not in the system's temporary folder: graphs may be larger than that holds.
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
            folder = Path(place) / "bundle"
            folder.mkdir()
            copy_engine_files(checkpoint_dir, config, folder, raw=raw)
            samples: Mapping[str, Floats] | None = None
            if calibration_images is not None:
                progress.stage("calibrating", 0)
                trial = Path(place) / "calibration"
                tensors, samples = calibrate(
                    folder, config, tensors, calibration_images, trial, storage.precision
                )
                shutil.rmtree(trial)
            progress.stage("building", sum(one.length for one in checkpoint.tensors.values()))
            graphs = build_graphs(
                checkpoint_dir,
                folder / "onnx",
                dialect,
                linear_attention,
                storage=storage,
                tensors=CountedTensors(tensors, checkpoint, progress),
                samples=samples,
            )
            if graphs.choices:
                for choice in graphs.choices:
                    progress.stored(choice.form, choice.error)
                report = [asdict(choice) for choice in graphs.choices]
                (folder / QUANTISATION_FILE).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
            described = [graphs.decoder, *([graphs.vision] if graphs.vision is not None else [])]
            build: dict[str, object] = {
                **{graph.stem: f"onnx/{graph.name}" for graph in described},
                "dialect": graphs.dialect,
                "recurrent_layout": graphs.recurrent_layout,
                "inputs": {graph.stem: _signature(graph, "input") for graph in described},
                "outputs": {graph.stem: _signature(graph, "output") for graph in described},
            }
            if graphs.vision is not None and storage.vision_precision != storage.precision:
                build["vision_precision"] = storage.vision_precision
            fields: dict[str, object] = {
                "name": name,
                "version": version,
                "source": dict(source),
                "licence": licence,
                "precision": storage.precision,
                "is_demo": is_demo,
                "context_tokens": context_tokens or graphs.config.text.max_positions,
                "builds": {"onnx": build},
                "card": dict(card or {}),
            }
            if scope is not None:
                fields["scope"] = [dict(entry) for entry in scope]
            if selftest:
                from lineside.engines.selftest import add_selftest  # only here is a runtime needed

                progress.stage("self-test", 0)
                fields = add_selftest(folder, fields)
            progress.stage("packing", 0)
            return write_bundle(folder, fields, out)


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


def choose_dialect(
    name: DialectName, linear_attention: LinearAttentionOperator, forms: WeightForms | None = None
) -> Dialect:
    """The dialect called `name`; `forms`: how it stores weights, float32 by default.

    Raises:
        UnsupportedModel: no such dialect, or one that cannot store weights so.
    """
    forms = forms or WeightForms()
    if name == "onnxruntime":
        return OnnxRuntimeDialect(linear_attention, forms)
    if name == "plain":
        if forms.rounds:
            raise UnsupportedModel(
                f"the plain dialect is the float32 reference: it has no {forms.precision}."
            )
        return PlainDialect()
    raise UnsupportedModel(f"dialect is {name!r}; supported: onnxruntime, plain.")


def _write(
    out_dir: Path, name: str, beside: bool, describe: Callable[[GraphBuilder], None]
) -> tuple[Path, ...]:
    with ExitStack() as stack:
        weights = stack.enter_context(WeightsFile(out_dir / f"{name}.onnx.data")) if beside else None
        graph = GraphBuilder(name, weights)
        describe(graph)
    onnx.save_model(graph.model(), out_dir / f"{name}.onnx")
    return tuple(weights.paths) if weights is not None else ()


def _float32_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(prod(one.shape) for one in checkpoint.tensors.values())
