"""One shape of call on a plan: run directly at first, and as a captured graph once it comes often.

A captured graph saves the host the work of launching every kernel, which on a fast device takes longer than
the kernels of one token. It is bound to its addresses, so each of the two turns of the states has one, with
memory and an execution of its own. Knows plans and states; does not know prompts.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.answering.runtime import Floats, Integers
from lineside.engines.tensorrt.blocks import Block, Blocks
from lineside.engines.tensorrt.device import Address, Execution, Graph, Plan
from lineside.engines.tensorrt.exchange import Exchange, Part, lay_out
from lineside.engines.tensorrt.states import PAST, DeviceStates

LOGITS, TEXT_EMBEDS = "logits", "text_embeds"
CAPTURED_TOKENS = 16
"""Longer calls are bound by arithmetic, not by launches."""
CAPTURE_AFTER = 2
"""Direct runs of a turn before it is captured: most shapes of a prompt's end come once."""
MOST_GRAPHS = 32


Table = Callable[[Integers], NDArray[Any]]


@dataclass(eq=False)
class Turn:
    """One of the two ways a call runs: which set of states it reads. All but `runs`: once it runs alone."""

    runs: int = 0
    execution: Execution | None = None
    graph: Graph | None = None
    into: Exchange | None = None
    out: Exchange | None = None

    def free(self) -> None:
        """Gives up everything."""
        for one in (self.graph, self.execution, self.into, self.out):
            if one is not None:
                one.free()


@dataclass
class Workshop:
    """What all calls of one decoder share. Their runs never overlap, so they share scratch and exchange.

    `executions`: for direct runs, by plan and profile. `graphs`: how many may still be captured. `table`: the
    embeddings [.., hidden] of token ids [..], for plans that take these instead of ids.
    """

    blocks: Blocks
    weights: Mapping[str, Address]
    table: Table
    scratch: Block
    into: Exchange
    out: Exchange
    executions: dict[tuple[int, int], Execution] = field(default_factory=dict)
    graphs: int = MOST_GRAPHS
    alone: list[Turn] = field(default_factory=list)
    # Calls end whenever the collector likes: what they had waits here until it may be freed.
    ended: deque[Turn] = field(default_factory=deque)

    def tidy(self) -> None:
        """Frees what calls had that nobody refers to any more."""
        while self.ended:
            turn = self.ended.popleft()
            if turn in self.alone:
                self.alone.remove(turn)
                turn.free()
                self.graphs += 1

    def close(self) -> None:
        """Frees everything but blocks; nothing may run afterwards."""
        for turn in self.alone:
            turn.free()
        for execution in self.executions.values():
            execution.free()
        for exchange in (self.into, self.out):
            exchange.free()
        self.alone.clear()
        self.executions.clear()


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan and the profile that admits a call's shapes."""

    plan: Plan
    profile: int
    number: int
    shapes: Mapping[str, tuple[int, ...]]


class DeviceCall:
    """So many new tokens in each row of `states` (`Call`). Fill the arrays, then `run`."""

    def __init__(
        self,
        workshop: Workshop,
        fit: Fit,
        states: DeviceStates,
        tokens: int,
        reads: int,
        rotary_half: int,
        image_embeds: Floats,
        vocabulary: int,
    ) -> None:
        """`image_embeds`: [N, hidden], read at each run; `tokens` in each of the states' rows."""
        rows = states.rows
        self._workshop = workshop
        self._device = workshop.blocks.device
        self._fit = fit
        self._states = states
        self.ids: Integers = np.zeros((rows, tokens), np.int64)
        self.image_index: Integers = np.full((rows, tokens), -1, np.int64)
        self.cos: Floats = np.zeros((rows, tokens, rotary_half), np.float32)
        self.sin: Floats = np.zeros((rows, tokens, rotary_half), np.float32)
        self.past_length: Integers = np.zeros(rows, np.int64)
        self.logit_positions: Integers = np.full(reads, tokens - 1, np.int64)
        self._values: dict[str, NDArray[np.generic]] = {
            "input_ids": self.ids,
            "image_embeds": image_embeds,
            "image_index": self.image_index,
            "rope_cos": self.cos,
            "rope_sin": self.sin,
            "past_length": self.past_length,
            "logit_positions": self.logit_positions,
        }
        tensors = fit.plan.tensors
        shapes = {name: array.shape for name, array in self._values.items()}
        if TEXT_EMBEDS in tensors:
            shapes[TEXT_EMBEDS] = fit.shapes[TEXT_EMBEDS]
        taken = [(tensors[name], shape) for name, shape in shapes.items() if name in tensors]
        self._in_parts, self._in_size = lay_out(taken)
        self._out_parts, self._out_size = lay_out([(tensors[LOGITS], (rows, reads, vocabulary))])
        # What comes often is short, and worth a graph.
        self._may_capture = tokens <= CAPTURED_TOKENS
        self._turns = (Turn(), Turn())

    def run(self) -> Floats:
        """Runs the tokens; gives logits [rows, reads, vocabulary], valid until the next run of any call."""
        with self._workshop.blocks.lock:
            return self._run()

    def _run(self) -> Floats:
        turn = self._turns[self._states.turn]
        turn.runs += 1
        if turn.graph is not None:
            logits = self._replay(turn, turn.graph)
        elif turn.execution is not None:
            turn.graph = self._captured(turn, turn.execution)
            logits = self._replay(turn, turn.graph)
        elif self._may_capture and turn.runs > CAPTURE_AFTER and self._workshop.graphs > 0:
            logits = self._run_alone(turn)
        else:
            logits = self._run_directly()
        self._states.swap()
        return logits

    def _run_directly(self) -> Floats:
        """With the executions and the exchange that all calls share."""
        workshop, fit = self._workshop, self._fit
        workshop.into.make_room(self._in_size)
        workshop.out.make_room(self._out_size)
        key = fit.number, fit.profile
        execution = workshop.executions.get(key)
        if execution is None:
            execution = fit.plan.execution(fit.profile, workshop.scratch.address)
            workshop.executions[key] = execution
        self._bind(execution, workshop.into, workshop.out)
        return self._once(execution, workshop.into, workshop.out)

    def _run_alone(self, turn: Turn) -> Floats:
        """By an execution and an exchange of its own: TensorRT wants a run in a shape before its capture."""
        workshop, fit = self._workshop, self._fit
        workshop.tidy()
        workshop.graphs -= 1
        workshop.alone.append(turn)
        weakref.finalize(self, workshop.ended.append, turn).atexit = False
        turn.into = Exchange(workshop.blocks, self._in_size)
        turn.out = Exchange(workshop.blocks, self._out_size)
        turn.execution = fit.plan.execution(fit.profile, workshop.scratch.address)
        self._bind(turn.execution, turn.into, turn.out)
        return self._once(turn.execution, turn.into, turn.out)

    def _captured(self, turn: Turn, execution: Execution) -> Graph:
        assert turn.into is not None
        assert turn.out is not None
        with self._device.capture() as captured:
            self._queue(execution, turn.into, turn.out)
        return captured.graph

    def _replay(self, turn: Turn, graph: Graph) -> Floats:
        assert turn.into is not None
        assert turn.out is not None
        self._write(turn.into)
        graph.launch()
        self._device.synchronise()
        return self._logits(turn.out)

    def _once(self, execution: Execution, into: Exchange, out: Exchange) -> Floats:
        self._write(into)
        self._queue(execution, into, out)
        self._device.synchronise()
        return self._logits(out)

    def _write(self, into: Exchange) -> None:
        if TEXT_EMBEDS in self._in_parts:
            self._values[TEXT_EMBEDS] = self._workshop.table(self.ids)
        into.write(self._in_parts, self._values)

    def _queue(self, execution: Execution, into: Exchange, out: Exchange) -> None:
        into.upload(self._in_size)
        execution.enqueue()
        out.download(self._out_size)

    def _bind(self, execution: Execution, into: Exchange, out: Exchange) -> None:
        states = self._states.addresses(self._states.turn)
        for name, tensor in self._fit.plan.tensors.items():
            if tensor.is_input:
                execution.shape(name, self._fit.shapes[name])
            execution.bind(name, self._address(name, states, into, out))

    def _address(self, name: str, states: Mapping[str, Address], into: Exchange, out: Exchange) -> Address:
        if name in states:
            return states[name]
        for exchange, parts in ((into, self._in_parts), (out, self._out_parts)):
            if name in parts:
                return exchange.address(parts[name])
        return self._workshop.weights[name]

    def _logits(self, out: Exchange) -> Floats:
        part: Part = self._out_parts[LOGITS]
        return out.read(part).astype(np.float32, copy=False)


def is_state(name: str) -> bool:
    """Whether an input is a past state."""
    return name.startswith(PAST)
