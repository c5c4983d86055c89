"""A decoder on the device: plans that share weights, and calls of any shape that one of them takes.

A plan for one token and a plan for many may be of different graphs; names and meanings are those of
docs/engine-bundle.md, and inputs that are not among them are weights. Knows plans; does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineside.engines.answering.runtime import Floats, Integers
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.tensorrt.blocks import Blocks
from lineside.engines.tensorrt.calls import LOGITS, TEXT_EMBEDS, DeviceCall, Fit, Table, Workshop, is_state
from lineside.engines.tensorrt.device import Address, Plan, PlanTensor
from lineside.engines.tensorrt.exchange import Exchange
from lineside.engines.tensorrt.states import DeviceLayout, DeviceStates, read_layout

CONTRACT = (
    "input_ids",
    TEXT_EMBEDS,
    "image_embeds",
    "image_index",
    "rope_cos",
    "rope_sin",
    "past_length",
    "logit_positions",
)


def tokens_input(plan: Plan) -> str:
    """The input that has the tokens, [rows, tokens, ..]: their ids, or what the host looked up for them."""
    return TEXT_EMBEDS if TEXT_EMBEDS in plan.tensors else "input_ids"


def weights_of(plan: Plan) -> dict[str, PlanTensor]:
    """The inputs of a decoder's plan that are neither of the contract nor states."""
    return {
        name: tensor
        for name, tensor in plan.tensors.items()
        if tensor.is_input and name not in CONTRACT and not is_state(name)
    }


class DeviceDecoder:
    """The decoder (`Decoder`)."""

    def __init__(
        self,
        blocks: Blocks,
        plans: Sequence[Plan],
        weights: Mapping[str, Address],
        table: Table | None = None,
    ) -> None:
        """`weights`: where the plans find the inputs that are weights; `table`: embeddings of token ids.

        Raises:
            IncompatibleBundle: the plans do not take and give what the contract says, or disagree.
        """
        if not plans:
            raise IncompatibleBundle("there is no plan of a decoder")
        self._plans = tuple(plans)
        self._blocks = blocks
        for plan in plans:
            _check(plan, weights, table is not None)
        tensors = {name: tensor for plan in plans for name, tensor in plan.tensors.items()}
        wide = next((tensors[name] for name in ("image_embeds", TEXT_EMBEDS) if name in tensors), None)
        self.hidden = wide.shape[-1] if wide is not None else 1
        self.vocabulary = tensors[LOGITS].shape[2]
        self.rotary_half = tensors["rope_cos"].shape[2]
        ranges = [(profile[tokens_input(plan)].most, profile) for plan in plans for profile in plan.profiles]
        self.most_rows = max(most[0] for most, _ in ranges)
        self.most_tokens = max(most[1] for most, _ in ranges)
        self.layout = self._layout()
        self._no_pictures = np.zeros((1, self.hidden), np.float32)
        self._workshop = Workshop(
            blocks=blocks,
            weights=weights,
            table=table if table is not None else _no_table,
            scratch=blocks.take(max(plan.scratch_bytes for plan in plans)),
            into=Exchange(blocks),
            out=Exchange(blocks),
        )

    def row_bytes(self, tokens: int) -> int:
        """What one more row of states costs, with room for so many tokens."""
        return 2 * self.layout.fixed_row // self.most_rows + self.layout.cache_bytes * (
            self.layout.capacity or tokens
        )

    def states(self, rows: int, capacity: int) -> DeviceStates:
        """New states, empty.

        Raises:
            IncompatibleBundle: the plans keep fewer tokens, or take fewer rows.
        """
        if rows > self.most_rows:
            raise IncompatibleBundle(f"the plans take up to {self.most_rows} rows, {rows} were asked for")
        return DeviceStates(self._blocks, self.layout, rows, capacity)

    def call(
        self, states: DeviceStates, tokens: int, reads: int, image_embeds: Floats | None = None
    ) -> DeviceCall:
        """A call on these states.

        Raises:
            IncompatibleBundle: no plan takes such a shape.
        """
        embeds = self._no_pictures if image_embeds is None else image_embeds
        fit = self._fit(states, tokens, reads, len(embeds))
        return DeviceCall(
            self._workshop, fit, states, tokens, reads, self.rotary_half, embeds, self.vocabulary
        )

    def close(self) -> None:
        """Frees graphs, executions and plans. Memory is the blocks' to give back."""
        self._workshop.close()
        for plan in self._plans:
            plan.free()

    def _layout(self) -> DeviceLayout:
        layouts = [read_layout(plan.tensors, self.most_rows, _capacity(plan)) for plan in self._plans]
        first = layouts[0]
        for other in layouts[1:]:
            if (dict(other.caches), dict(other.fixed), other.capacity) != (
                dict(first.caches),
                dict(first.fixed),
                first.capacity,
            ):
                raise IncompatibleBundle("the decoder's plans disagree about its states: compile them again")
        return min(layouts, key=lambda one: one.most_capacity)

    def _fit(self, states: DeviceStates, tokens: int, reads: int, embeds: int) -> Fit:
        rows = states.rows
        wanted = {
            "input_ids": (rows, tokens),
            TEXT_EMBEDS: (rows, tokens, self.hidden),
            "image_embeds": (embeds, self.hidden),
            "image_index": (rows, tokens),
            "rope_cos": (rows, tokens, self.rotary_half),
            "rope_sin": (rows, tokens, self.rotary_half),
            "past_length": (rows,),
            "logit_positions": (reads,),
        }
        found: list[tuple[int, Fit]] = []
        for number, plan in enumerate(self._plans):
            shapes = {
                name: wanted[name] if name in wanted else _shape(tensor, rows, states.capacity)
                for name, tensor in plan.tensors.items()
                if tensor.is_input
            }
            for profile, ranges in enumerate(plan.profiles):
                if all(ranges[name].admits(shape) for name, shape in shapes.items()):
                    found.append((ranges[tokens_input(plan)].most[1], Fit(plan, profile, number, shapes)))
        if not found:
            raise IncompatibleBundle(
                f"no plan of the decoder takes {rows} rows of {tokens} tokens with {embeds} of pictures in a "
                f"context of {states.capacity}: compile the engine for such a shape"
            )
        # The narrowest: a plan for one token was made for decoding.
        return min(found, key=lambda one: one[0])[1]


def _capacity(plan: Plan) -> int:
    """The most tokens that a plan's caches hold in every profile's best case; without caches no bound."""
    found = [
        ranges.most[2]
        for profile in plan.profiles
        for name, ranges in profile.items()
        if is_state(name) and name.endswith((".key", ".value"))
    ]
    return max(found, default=1 << 30)


def _shape(tensor: PlanTensor, rows: int, capacity: int) -> tuple[int, ...]:
    """Of a state or a weight: the first axis of a state is its rows, the open one of a cache its capacity."""
    if not is_state(tensor.name):
        return tensor.shape
    return (rows, *(capacity if size < 0 else size for size in tensor.shape[1:]))


def _no_table(ids: Integers) -> Floats:
    raise AssertionError(f"a plan that takes ids was asked for the embeddings of {ids.shape}")


def _check(plan: Plan, weights: Mapping[str, Address], has_table: bool) -> None:
    tensors = plan.tensors
    if TEXT_EMBEDS in tensors and not has_table:
        raise IncompatibleBundle(
            "a plan takes embeddings, and there is no table of them: compile the engine again"
        )
    missing = [name for name in (tokens_input(plan), "rope_cos", LOGITS) if name not in tensors]
    if missing:
        raise IncompatibleBundle(f"a plan of the decoder has no {missing[0]}")
    unknown = sorted(set(weights_of(plan)) - set(weights))
    if unknown:
        raise IncompatibleBundle(
            f"a plan of the decoder needs the weight {unknown[0]}, which is not there: compile it again"
        )
