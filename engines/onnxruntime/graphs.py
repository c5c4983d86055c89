"""The two graphs as calls on bound buffers: nothing is copied or allocated a call that need not be.

Knows the graph contract (docs/engine-bundle.md) and ONNX Runtime's bindings; does not know prompts,
grammars or what answers mean.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lineside.engines.config import VisionConfig
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.onnxruntime.states import Floats, StateLayout, States, read_layout
from lineside.engines.pixels import Patches
from lineside.engines.positions import vision_positions

Integers = NDArray[np.int64]
_DECODER_INPUTS = {
    "input_ids",
    "image_embeds",
    "image_index",
    "rope_cos",
    "rope_sin",
    "past_length",
    "logit_positions",
}
_VISION_INPUTS = {"pixel_values", "position_index", "position_weight", "rope_cos", "rope_sin"}
_GRIDS_KEPT = 32


def _bind_input(binding: Any, name: str, array: NDArray[Any]) -> None:
    binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


def _bind_output(binding: Any, name: str, array: NDArray[Any]) -> None:
    binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


class DecoderGraph:
    """`decoder.onnx` in a session (`Decoder`)."""

    def __init__(self, session: ort.InferenceSession) -> None:
        """
        Raises:
            IncompatibleBundle: the graph does not take and give what the contract says.
        """
        self.session = session
        self.layout: StateLayout = read_layout(session.get_inputs())
        shapes = {one.name: one.shape for one in session.get_inputs()}
        missing = _DECODER_INPUTS - set(shapes)
        outputs = {one.name: one.shape for one in session.get_outputs()}
        if missing or "logits" not in outputs:
            raise IncompatibleBundle(f"decoder.onnx has no {min(missing or {'logits'})}")
        self.rotary_half = int(shapes["rope_cos"][2])
        self.hidden = int(shapes["image_embeds"][1])
        self.vocabulary = int(outputs["logits"][2])
        self.no_pictures: Floats = np.zeros((1, self.hidden), np.float32)
        self.most_rows = self.most_tokens = 1 << 30

    def row_bytes(self, tokens: int) -> int:
        """What one more row of states costs, with room for so many tokens."""
        return self.layout.fixed_bytes() + self.layout.cache_bytes() * tokens

    def states(self, rows: int, capacity: int) -> States:
        """New states, empty."""
        return States(self.layout, rows, capacity)

    def call(
        self, states: States, tokens: int, reads: int, image_embeds: Floats | None = None
    ) -> DecoderCall:
        """A call on these states."""
        return DecoderCall(self, states, tokens, reads, image_embeds)


class DecoderCall:
    """One shape of call: `tokens` new tokens in each row of `states`, logits wanted at `reads` places.

    Fill the arrays, then `run`. The states are read and written where they are.
    """

    def __init__(
        self, graph: DecoderGraph, states: States, tokens: int, reads: int, image_embeds: Floats | None = None
    ) -> None:
        rows = states.rows
        self._run: Any = graph.session.run_with_iobinding  # untyped in ONNX Runtime
        self._states = states
        self._embeds = graph.no_pictures if image_embeds is None else image_embeds
        self.ids: Integers = np.zeros((rows, tokens), np.int64)
        self.image_index: Integers = np.full((rows, tokens), -1, np.int64)
        self.cos: Floats = np.zeros((rows, tokens, graph.rotary_half), np.float32)
        self.sin: Floats = np.zeros((rows, tokens, graph.rotary_half), np.float32)
        self.past_length: Integers = np.zeros(rows, np.int64)
        self.logit_positions: Integers = np.full(reads, tokens - 1, np.int64)
        self._logits: Floats = np.empty((rows, reads, graph.vocabulary), np.float32)
        binding: Any = graph.session.io_binding()
        for name, array in (
            ("input_ids", self.ids),
            ("image_embeds", self._embeds),
            ("image_index", self.image_index),
            ("rope_cos", self.cos),
            ("rope_sin", self.sin),
            ("past_length", self.past_length),
            ("logit_positions", self.logit_positions),
        ):
            _bind_input(binding, name, array)
        _bind_output(binding, "logits", self._logits)
        for name, state in states.arrays().items():
            _bind_input(binding, name, state)
            _bind_output(binding, name.replace("past.", "present.", 1), state)
        self._binding = binding

    def run(self) -> Floats:
        """Runs the tokens; gives logits [rows, reads, vocabulary], valid until the next run."""
        self._run(self._binding)
        return self._logits


class VisionGraph:
    """`vision.onnx` in a session, with each grid's position inputs made once."""

    def __init__(self, session: ort.InferenceSession, config: VisionConfig) -> None:
        """
        Raises:
            IncompatibleBundle: the graph does not take and give what the contract says.
        """
        missing = _VISION_INPUTS - {one.name for one in session.get_inputs()}
        if missing:
            raise IncompatibleBundle(f"vision.onnx has no {min(missing)}")
        self._session = session
        self._run: Any = session.run_with_iobinding  # untyped in ONNX Runtime
        self._config = config
        self._grids: OrderedDict[tuple[int, int], tuple[ort.IOBinding, tuple[NDArray[Any], ...]]] = (
            OrderedDict()
        )

    def run(self, picture: Patches, embeds: Floats) -> None:
        """Fills `embeds` [tokens, hidden] with the embeddings of one picture or clip.

        Each by itself, so that a picture's embeddings do not depend, in their last bit, on its neighbours.
        """
        grid = (picture.grid_h, picture.grid_w)
        binding, _kept = self._bound(grid)
        tokens = grid[0] * grid[1] // self._config.merge**2
        out = embeds.reshape(picture.values.shape[0], tokens, -1)
        _bind_input(binding, "pixel_values", picture.values)
        _bind_output(binding, "image_embeds", out)
        self._run(binding)

    def _bound(self, grid: tuple[int, int]) -> tuple[ort.IOBinding, tuple[NDArray[Any], ...]]:
        found = self._grids.get(grid)
        if found is not None:
            self._grids.move_to_end(grid)
            return found
        config = self._config
        positions = vision_positions(
            *grid,
            merge=config.merge,
            table_side=config.position_side,
            head_dim=config.head_dim,
            theta=config.rope_theta,
        )
        binding = self._session.io_binding()
        arrays: dict[str, NDArray[Any]] = {
            "position_index": np.ascontiguousarray(positions.index),
            "position_weight": np.ascontiguousarray(positions.weight),
            "rope_cos": np.ascontiguousarray(positions.cos),
            "rope_sin": np.ascontiguousarray(positions.sin),
        }
        for name, array in arrays.items():
            _bind_input(binding, name, array)
        self._grids[grid] = (binding, tuple(arrays.values()))
        if len(self._grids) > _GRIDS_KEPT:
            self._grids.popitem(last=False)
        return self._grids[grid]
