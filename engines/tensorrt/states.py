"""A decoder's past on the device: caches in place, all other states in two sets that are swapped each run.

A cache is written where its new tokens go, in the memory it is read from. A recurrent or convolution state is
read whole and written whole: it comes out beside, and the next run reads it there. Copies stay on the device.
Knows device memory; does not know plans beyond their states, or prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from lineside.engines.errors import IncompatibleBundle
from lineside.engines.tensorrt.blocks import Block, Blocks
from lineside.engines.tensorrt.device import ALIGNMENT, Address, PlanTensor

PAST, PRESENT = "past.", "present."
_CACHES = (".key", ".value")


@dataclass(frozen=True, slots=True)
class CacheShape:
    """One cache: [rows, heads, capacity, width], `width` in bytes."""

    heads: int
    width: int


@dataclass(frozen=True)
class DeviceLayout:
    """`caches` and `fixed` (bytes a row) by the names of the plan's inputs.

    `capacity`: of caches, where it is fixed; `most_capacity`, `most_rows`: that the plans take.
    """

    caches: Mapping[str, CacheShape]
    fixed: Mapping[str, int]
    capacity: int | None
    most_capacity: int
    most_rows: int
    offsets: Mapping[str, int] = field(init=False)
    fixed_row: int = field(init=False)

    def __post_init__(self) -> None:
        offsets, at = {}, 0
        for name, size in self.fixed.items():
            offsets[name] = at
            at += _aligned(size * self.most_rows)
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "fixed_row", at)

    @property
    def cache_bytes(self) -> int:
        """Bytes a row takes for each token."""
        return sum(shape.heads * shape.width for shape in self.caches.values())


def read_layout(tensors: Mapping[str, PlanTensor], most_rows: int, most_capacity: int) -> DeviceLayout:
    """The states among a plan's inputs (`past.…`), each of which must come out again (`present.…`).

    Raises:
        IncompatibleBundle: one does not come out, or caches differ in capacity.
    """
    caches: dict[str, CacheShape] = {}
    fixed: dict[str, int] = {}
    capacities: set[int] = set()
    for tensor in tensors.values():
        if not tensor.is_input or not tensor.name.startswith(PAST):
            continue
        if present_of(tensor.name) not in tensors:
            raise IncompatibleBundle(f"the plan takes {tensor.name} and does not give it back")
        if tensor.name.endswith(_CACHES):
            _, heads, capacity, dim = tensor.shape
            caches[tensor.name] = CacheShape(heads, dim * tensor.bits // 8)
            capacities.add(capacity)
        else:
            fixed[tensor.name] = prod(tensor.shape[1:]) * tensor.bits // 8
    if len(capacities) > 1:
        raise IncompatibleBundle(f"the plan's caches differ in capacity: {sorted(capacities)}")
    capacity = next(iter(capacities), -1)
    return DeviceLayout(caches, fixed, capacity if capacity > 0 else None, most_capacity, most_rows)


def present_of(past: str) -> str:
    """The output that a state comes out as."""
    return past.replace(PAST, PRESENT, 1)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class DeviceStates:
    """The past of `rows` sequences (`States`). Starts as the empty past."""

    def __init__(self, blocks: Blocks, layout: DeviceLayout, rows: int, capacity: int) -> None:
        self.layout = layout
        self.rows = rows
        self.capacity = layout.capacity or capacity
        if capacity > min(self.capacity, layout.most_capacity):
            raise IncompatibleBundle(
                f"the plans keep up to {min(self.capacity, layout.most_capacity)} tokens, not {capacity}: "
                "open the engine with fewer context_tokens, or compile it with more"
            )
        self._blocks = blocks
        self._device = blocks.device
        self._caches = {
            name: blocks.take(rows * shape.heads * self.capacity * shape.width)
            for name, shape in layout.caches.items()
        }
        self._sets = (blocks.take(layout.fixed_row), blocks.take(layout.fixed_row))
        self.turn = 0
        for name, block in self._caches.items():
            # Once: a mask hides what lies beyond the past, but not a value that is no number.
            self._device.clear(block.address, rows * self._pitch(name) * layout.caches[name].heads)
        self.begin()

    def addresses(self, turn: int) -> dict[str, Address]:
        """Where a run in this turn reads each state (`past.…`) and writes it (`present.…`)."""
        found: dict[str, Address] = {}
        for name, block in self._caches.items():
            found[name] = found[present_of(name)] = block.address
        for name, offset in self.layout.offsets.items():
            found[name] = self._sets[turn].address + offset
            found[present_of(name)] = self._sets[1 - turn].address + offset
        return found

    def swap(self) -> None:
        """What was written is read from now on."""
        self.turn = 1 - self.turn

    def begin(self) -> None:
        """Goes back to the empty past. Caches keep old values, which `past_length` hides."""
        with self._blocks.lock:
            if self.layout.fixed_row:
                self._device.clear(self._sets[self.turn].address, self.layout.fixed_row)

    def repeat(self, source: DeviceStates, length: int) -> None:
        """Makes every row the single row of `source`, of which the first `length` tokens count."""
        with self._blocks.lock:
            for name, shape in self.layout.caches.items():
                for row in range(self.rows):
                    self._device.copy_rows(
                        self._caches[name].address + row * shape.heads * self._pitch(name),
                        self._pitch(name),
                        source._caches[name].address,
                        source._pitch(name),
                        length * shape.width,
                        shape.heads,
                    )
            for name, offset in self.layout.offsets.items():
                size = self.layout.fixed[name]
                for row in range(self.rows):
                    self._device.copy(
                        self._sets[self.turn].address + offset + row * size,
                        source._sets[source.turn].address + offset,
                        size,
                    )

    def copy_caches(self, start: int, end: int) -> CacheRun:
        """What tokens `start` to `end` of a single sequence left in the caches."""
        with self._blocks.lock:
            run = CacheRun.empty(self._blocks, self.layout, end - start)
            for name, shape in self.layout.caches.items():
                self._device.copy_rows(
                    run.address(name),
                    run.tokens * shape.width,
                    self._caches[name].address + start * shape.width,
                    self._pitch(name),
                    run.tokens * shape.width,
                    shape.heads,
                )
            return run

    def copy_fixed(self) -> FixedCopy:
        """The states of a single sequence that do not grow, as they are now."""
        with self._blocks.lock:
            block = self._blocks.take(self.layout.fixed_row)
            if self.layout.fixed_row:
                self._device.copy(block.address, self._sets[self.turn].address, self.layout.fixed_row)
            return FixedCopy(block)

    def put_caches(self, run: CacheRun, start: int) -> None:
        """Puts a run of tokens back, the first of them as token `start`."""
        with self._blocks.lock:
            for name, shape in self.layout.caches.items():
                self._device.copy_rows(
                    self._caches[name].address + start * shape.width,
                    self._pitch(name),
                    run.address(name),
                    run.tokens * shape.width,
                    run.tokens * shape.width,
                    shape.heads,
                )

    def put_fixed(self, copy: FixedCopy) -> None:
        """Puts the states that do not grow back."""
        with self._blocks.lock:
            if self.layout.fixed_row:
                self._device.copy(self._sets[self.turn].address, copy.block.address, self.layout.fixed_row)

    def _pitch(self, name: str) -> int:
        """Bytes from one head to the next."""
        return self.capacity * self.layout.caches[name].width


@dataclass(frozen=True, slots=True)
class CacheRun:
    """A copy of what a run of tokens left in the caches: [heads, tokens, width] each, one after the other."""

    blocks: Blocks
    layout: DeviceLayout
    block: Block
    tokens: int

    @classmethod
    def empty(cls, blocks: Blocks, layout: DeviceLayout, tokens: int) -> CacheRun:
        """Room for so many tokens."""
        return cls(blocks, layout, blocks.take(layout.cache_bytes * tokens), tokens)

    @property
    def size_bytes(self) -> int:
        """How much memory it holds."""
        return self.block.size

    def address(self, name: str) -> Address:
        """Where a cache's part begins."""
        before = 0
        for other, shape in self.layout.caches.items():
            if other == name:
                break
            before += shape.heads * shape.width
        return self.block.address + before * self.tokens

    def split(self, at: int) -> tuple[CacheRun, CacheRun]:
        """Copies of what the first `at` tokens left, and the rest."""
        return self._part(0, at), self._part(at, self.tokens)

    def _part(self, start: int, end: int) -> CacheRun:
        with self.blocks.lock:
            return self._copied(start, end)

    def _copied(self, start: int, end: int) -> CacheRun:
        part = CacheRun.empty(self.blocks, self.layout, end - start)
        for name, shape in self.layout.caches.items():
            self.blocks.device.copy_rows(
                part.address(name),
                part.tokens * shape.width,
                self.address(name) + start * shape.width,
                self.tokens * shape.width,
                part.tokens * shape.width,
                shape.heads,
            )
        return part


@dataclass(frozen=True, slots=True)
class FixedCopy:
    """A copy of the states that do not grow, after some token."""

    block: Block

    @property
    def size_bytes(self) -> int:
        """How much memory it holds."""
        return self.block.size
