"""Runs built graphs as docs/engine-bundle.md says, the plainest way: new arrays every call, no bound buffers.

What the tests drive; uses the product's own position arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from qwen_cases import IMAGE, VIDEO, CasePrompt, Picture

from lineside.engines.build import GraphFiles
from lineside.engines.positions import TextRotary, VisionSpan, token_positions, vision_positions

Floats = np.ndarray[Any, np.dtype[np.float32]]
States = dict[str, Floats]


@dataclass(frozen=True)
class Prepared:
    """A prompt as the decoder takes it, one row: arrays [1, T, …]."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    image_embeds: Floats
    image_index: np.ndarray[Any, np.dtype[np.int64]]
    cos: Floats
    sin: Floats
    next_position: int


@dataclass(frozen=True)
class Greedy:
    """`prefill`: [T, vocab] logits of the prompt; `steps`: [n, vocab], one a token; `tokens`: n + 1 ids."""

    prefill: Floats
    steps: Floats
    tokens: tuple[int, ...]


class GraphRunner:
    """Sessions of both graphs on one CPU thread. `capacity`: the caches' length where they have one."""

    def __init__(self, files: GraphFiles, capacity: int = 160) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.files = files
        self.config = files.config
        self.capacity = capacity
        self.decoder = ort.InferenceSession(files.decoder, options, providers=["CPUExecutionProvider"])
        self.vision = (
            ort.InferenceSession(files.vision, options, providers=["CPUExecutionProvider"])
            if files.vision
            else None
        )
        rope = self.config.text.rope
        self.rotary = TextRotary(rope.rotary_dim, rope.theta, rope.sections)
        self.state_names = [i.name for i in self.decoder.get_inputs() if i.name.startswith("past.")]

    def embed(self, pictures: tuple[Picture, ...]) -> Floats:
        """Image embeddings of all pictures, one below the other; a row of zeros without any."""
        if not pictures:
            return np.zeros((1, self.config.text.hidden), np.float32)
        return np.concatenate([self.embed_one(p).reshape(-1, self.config.text.hidden) for p in pictures])

    def embed_one(self, picture: Picture) -> Floats:
        vision = self.config.vision
        assert vision is not None
        assert self.vision is not None
        places = vision_positions(
            picture.grid_h,
            picture.grid_w,
            merge=vision.merge,
            table_side=vision.position_side,
            head_dim=vision.head_dim,
            theta=vision.rope_theta,
        )
        (embeds,) = self.vision.run(
            None,
            {
                "pixel_values": picture.values,
                "position_index": places.index,
                "position_weight": places.weight,
                "rope_cos": places.cos,
                "rope_sin": places.sin,
            },
        )
        return np.asarray(embeds)

    def prepare(self, prompt: CasePrompt) -> Prepared:
        ids = np.array([prompt.ids], np.int64)
        is_image = (ids == IMAGE) | (ids == VIDEO)
        index = np.where(is_image, np.cumsum(is_image, axis=1) - 1, -1)
        grids = [(p.grid_h // 2, p.grid_w // 2) for p in prompt.pictures for _ in range(len(p.values))]
        starts = [t for t in range(1, ids.shape[1]) if is_image[0, t] and not is_image[0, t - 1]]
        spans = [VisionSpan(at, *grid) for at, grid in zip(starts, grids, strict=True)]
        places = token_positions(ids.shape[1], spans)
        cos, sin = self.rotary.angles(places.streams)
        return Prepared(ids, self.embed(prompt.pictures), index, cos[None], sin[None], places.next)

    def empty_states(self, rows: int = 1) -> States:
        sizes = {"B": rows, "S": self.capacity if self.files.dialect == "onnxruntime" else 0}
        return {
            i.name: np.zeros([sizes.get(d, d) for d in i.shape], np.float32)
            for i in self.decoder.get_inputs()
            if i.name.startswith("past.")
        }

    def step(
        self,
        part: Prepared,
        past_length: list[int],
        states: States,
        positions: list[int] | None = None,
    ) -> tuple[Floats, States]:
        """One call: logits [B, K, vocab] of `positions` (None: all), and the states that come out."""
        wanted = positions if positions is not None else list(range(part.ids.shape[1]))
        outputs = self.decoder.run(
            None,
            {
                "input_ids": part.ids,
                "image_embeds": part.image_embeds,
                "image_index": part.image_index,
                "rope_cos": part.cos,
                "rope_sin": part.sin,
                "past_length": np.array(past_length, np.int64),
                "logit_positions": np.array(wanted, np.int64),
                **states,
            },
        )
        named = dict(zip((o.name for o in self.decoder.get_outputs()), outputs, strict=True))
        return named["logits"], {n: named[n.replace("past.", "present.")] for n in self.state_names}

    def text_part(self, ids: list[list[int]], positions: list[int]) -> Prepared:
        """Plain text rows [B, T]; `positions`: where each row's first token stands in all three streams."""
        array = np.array(ids, np.int64)
        angles = [self.rotary.text_angles(at, array.shape[1]) for at in positions]
        return Prepared(
            array,
            np.zeros((1, self.config.text.hidden), np.float32),
            np.full_like(array, -1),
            np.stack([cos for cos, _ in angles]),
            np.stack([sin for _, sin in angles]),
            0,
        )

    def cut(self, part: Prepared, start: int, end: int) -> Prepared:
        """The tokens from `start` to `end` of a prepared prompt."""
        return Prepared(
            part.ids[:, start:end],
            part.image_embeds,
            part.image_index[:, start:end],
            part.cos[:, start:end],
            part.sin[:, start:end],
            part.next_position,
        )

    def greedy(self, prompt: CasePrompt, steps: int) -> Greedy:
        """Prefill, then `steps` tokens one by one, each the most probable."""
        part = self.prepare(prompt)
        logits, states = self.step(part, [0], self.empty_states())
        prefill, rows = logits[0], []
        tokens = [int(prefill[-1].argmax())]
        for i in range(steps):
            text = self.text_part([[tokens[-1]]], [part.next_position + i])
            logits, states = self.step(text, [len(prompt.ids) + i], states)
            rows.append(logits[0, 0])
            tokens.append(int(logits[0, 0].argmax()))
        return Greedy(prefill, np.stack(rows), tuple(tokens))


def relative_error(found: Floats, wanted: Floats) -> float:
    """The largest difference over the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
