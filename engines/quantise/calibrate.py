"""The calibration pass: the model looks at the user's own pictures, and rows of what goes into each matrix
are kept, to choose scales and forms by.

Builds the model once with 8-bit weights, with taps, and runs it. Knows graphs and ONNX Runtime; does not
know bundles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import PIL.Image
import PIL.ImageOps
from tokenizers import Tokenizer

from lineside.engines.base import Prompt
from lineside.engines.chat import ChatTemplate, PromptWriter, VisionShape
from lineside.engines.config import ModelConfig, VisionConfig
from lineside.engines.errors import UnsupportedModel
from lineside.engines.graph.builder import GraphBuilder, WeightsFile
from lineside.engines.graph.decoder import describe_decoder
from lineside.engines.graph.dialects.onnxruntime import OnnxRuntimeDialect
from lineside.engines.graph.matrix import Matrix
from lineside.engines.graph.vision import describe_vision
from lineside.engines.pixels import Patches, PatchMaker, read_numbers
from lineside.engines.positions import TextRotary, vision_positions
from lineside.engines.quantise.blocks import BlockForm, Floats
from lineside.engines.quantise.forms import Precision, WeightForms
from lineside.engines.quantise.scaling import ScaledTensors, choose_scales, groups_of
from lineside.engines.weights import TensorSource

MAX_PICTURES = 16
ROWS_PER_PICTURE = 12
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
_TAP = "tap:"
_FORMS = {"int4": BlockForm(4, 128, True), "int8": BlockForm(8, 128, False)}
# What a station asks; the pictures matter more than the words.
_INSTRUCTION = "You inspect parts on a production line."
_QUESTION = "Is this part good? If it is not, what is wrong with it?"


@dataclass(frozen=True, slots=True)
class _TappedDialect(OnnxRuntimeDialect):
    """The onnxruntime dialect, with what goes into each product as a further output."""

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        if not exact:
            rows = g.op("Gather", x, "sampled_positions", axis=1)
            g.output(_TAP + weight.name, rows, "float32", ["B", "R", weight.shape[1]])
        return OnnxRuntimeDialect.matmul(self, g, x, weight, name, exact=exact)


def calibrate(
    files: Path,
    config: ModelConfig,
    tensors: TensorSource,
    images: Path,
    work: Path,
    precision: Precision,
) -> tuple[TensorSource, Mapping[str, Floats]]:
    """The weights with scales folded in, and samples for the choice of forms.

    `files`: a folder with tokenizer, template and picture numbers; `work`: a folder to build in.

    Raises:
        UnsupportedModel: no pictures, a model or a precision that cannot be calibrated.
    """
    if precision not in _FORMS:
        raise UnsupportedModel(f"calibration is for int4 and int8: {precision} rounds too little to need it.")
    if config.vision is None:
        raise UnsupportedModel("calibration looks at pictures, and this model has no vision tower.")
    pictures = sorted(p for p in images.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not pictures:
        raise UnsupportedModel(f"{images}: no pictures ({', '.join(sorted(_SUFFIXES))}) to calibrate with.")
    step = max(1, len(pictures) // MAX_PICTURES)
    looked_at = pictures[::step][:MAX_PICTURES]
    trial = _Trial(files, config, config.vision, tensors, work)
    gathered: dict[str, list[Floats]] = {}
    for path in looked_at:
        for name, rows in trial.look(_read(path)).items():
            gathered.setdefault(name, []).append(rows)
    samples = {name: np.concatenate(rows) for name, rows in gathered.items()}
    scales, scaled = choose_scales(groups_of(config.text, tensors), samples, _FORMS[precision])
    return ScaledTensors(tensors, scales), scaled


class _Trial:
    """The model at 8 bits, with taps, in sessions of its own."""

    def __init__(
        self, files: Path, config: ModelConfig, vision: VisionConfig, tensors: TensorSource, work: Path
    ) -> None:
        self._config, self._vision_config = config, vision
        self._patches = PatchMaker(read_numbers(_json(files / "preprocessor_config.json")))
        template = ChatTemplate((files / "chat_template.jinja").read_text("utf-8"))
        tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        self._writer = PromptWriter(template, tokenizer, config.tokens)
        rope = config.text.rope
        self._rotary = TextRotary(rope.rotary_dim, rope.theta, rope.sections)
        work.mkdir(parents=True)
        dialect = _TappedDialect(weights=WeightForms("int8"))
        with WeightsFile(work / "decoder.onnx.data") as weights:
            g = GraphBuilder("decoder", weights)
            g.input("sampled_positions", "int64", ["R"])
            describe_decoder(g, dialect, tensors, config.text)
        self._decoder = _session(g, work / "decoder.onnx")
        with WeightsFile(work / "vision.onnx.data") as weights:
            g = GraphBuilder("vision", weights)
            describe_vision(g, OnnxRuntimeDialect(weights=WeightForms("int8")), tensors, vision)
        self._vision = _session(g, work / "vision.onnx")

    def look(self, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, Floats]:
        """Rows [n, in] of what goes into each matrix when the model reads this picture."""
        patches = self._patches.picture(picture)
        merge = self._vision_config.merge
        shape = VisionShape(patches.grid_h // merge, patches.grid_w // merge, patches.seconds)
        prompt = self._writer.tokenise(Prompt(_INSTRUCTION, _QUESTION), [shape])
        tokens = prompt.ids.size
        cos, sin = self._rotary.angles(prompt.positions.streams)
        sizes = {"B": 1, "S": tokens}
        states = {
            one.name: np.zeros([sizes.get(size, size) for size in one.shape], np.float32)
            for one in self._decoder.get_inputs()
            if one.name.startswith("past.")
        }
        taps = [one.name for one in self._decoder.get_outputs() if one.name.startswith(_TAP)]
        count = min(ROWS_PER_PICTURE, tokens)
        found = self._decoder.run(
            taps,
            {
                "input_ids": prompt.ids[None],
                "image_embeds": self._embeds(patches),
                "image_index": prompt.image_index[None],
                "rope_cos": cos[None],
                "rope_sin": sin[None],
                "past_length": np.zeros(1, np.int64),
                "logit_positions": np.array([tokens - 1], np.int64),
                "sampled_positions": np.linspace(0, tokens - 1, count).astype(np.int64),
                **states,
            },
        )
        return {name.removeprefix(_TAP): np.asarray(rows)[0] for name, rows in zip(taps, found, strict=True)}

    def _embeds(self, patches: Patches) -> Floats:
        config = self._vision_config
        places = vision_positions(
            patches.grid_h,
            patches.grid_w,
            merge=config.merge,
            table_side=config.position_side,
            head_dim=config.head_dim,
            theta=config.rope_theta,
        )
        (embeds,) = self._vision.run(
            None,
            {
                "pixel_values": patches.values,
                "position_index": places.index,
                "position_weight": places.weight,
                "rope_cos": places.cos,
                "rope_sin": places.sin,
            },
        )
        return np.asarray(embeds, np.float32).reshape(-1, config.out_hidden)


def _session(g: GraphBuilder, path: Path) -> ort.InferenceSession:
    onnx.save_model(g.model(), path)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        with PIL.Image.open(path) as picture:
            return np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise UnsupportedModel(f"{path} cannot be read as a picture: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text("utf-8"))
    return found if isinstance(found, dict) else {}
