"""How fast an engine could be on a device at most: bytes over bandwidth, operations over the peak.

Bounds, not forecasts: nothing reaches all of its bandwidth, and launches, copies and the host come on top.
Knows costs and devices; does not know how figures are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lineside.engines.roofline_devices import Device
from lineside.engines.roofline_engines import Cost, Precision


@dataclass(frozen=True, slots=True)
class Work:
    """One inspection: a picture's size in pixels, words read beside it, the past when it decodes.

    `context_tokens`: the cache that is set aside.
    """

    width: int
    height: int
    text_tokens: int
    past_tokens: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Bound:
    """One engine in one precision on one device. Bytes, tokens a second, milliseconds, all at the limit.

    `fits`: weights and states are less than the device's memory, of which an operating system and the daemon
    take their part; `runs`: the chip has the number format.
    """

    device: str
    engine: str
    precision: str
    token_bytes: float
    state_bytes: int
    cache_bytes_per_token: int
    resident_bytes: float
    fits: bool
    runs: bool
    decode_tokens_s: float
    prefill_ms: float
    prefill_tokens: int
    vision_ms: float

    @property
    def first_token_ms(self) -> float:
        """Picture and words, until the first token could be known."""
        return self.vision_ms + self.prefill_ms


def patches_of(cost: Cost, work: Work) -> int:
    """Patches of the picture: sides are rounded to whole merged patches, as preprocessing does."""
    tower = cost.tower
    if tower is None:
        return 0
    step = tower.patch * tower.merge
    across, down = (tower.merge * max(round(side / step), 1) for side in (work.width, work.height))
    return across * down


def bound(cost: Cost, precision: Precision, device: Device, work: Work) -> Bound:
    """The limits of one engine in one precision on one device."""
    patches = patches_of(cost, work)
    tokens = work.text_tokens + (patches // cost.tower.merge**2 if cost.tower is not None else 0)
    streamed = cost.streamed(precision, work.past_tokens)
    resident = cost.resident(precision, work.context_tokens)
    read_once = cost.read_by_prefill(precision, tokens) / device.bandwidth
    prefill = cost.prefill_operations(tokens) / device.operations(precision.computes_in)
    tower_read = 2 * cost.vision / device.bandwidth
    vision = cost.vision_operations(patches) / device.operations("fp16")
    return Bound(
        device=device.name,
        engine=cost.name,
        precision=precision.name,
        token_bytes=streamed,
        state_bytes=cost.states,
        cache_bytes_per_token=cost.cache_per_token,
        resident_bytes=resident,
        fits=resident < device.memory,
        runs=device.sm >= precision.least_sm or not precision.least_sm,
        decode_tokens_s=device.bandwidth / streamed,
        prefill_ms=1e3 * max(prefill, read_once),
        prefill_tokens=tokens,
        vision_ms=1e3 * max(vision, tower_read) if cost.tower is not None else 0.0,
    )


def table(
    costs: Iterable[Cost], precisions: Iterable[Precision], devices: Iterable[Device], work: Work
) -> Iterator[Bound]:
    """Every engine in every precision on every device."""
    kept = tuple(costs), tuple(precisions)
    for device in devices:
        for cost in kept[0]:
            for precision in kept[1]:
                yield bound(cost, precision, device, work)
