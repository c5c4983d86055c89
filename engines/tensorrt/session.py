"""A bundle's plans on a device, as what answering needs: a decoder, a vision tower, and one way to end both.

The session itself is the same for every runtime (`answering/session.py`). Knows devices and plans by their
bytes; does not know where a bundle keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.answering.runtime import Loaded
from lineside.engines.config import VisionConfig
from lineside.engines.errors import IncompatibleBundle
from lineside.engines.tensorrt.blocks import Block, Blocks
from lineside.engines.tensorrt.calls import Table
from lineside.engines.tensorrt.decoder import DeviceDecoder, weights_of
from lineside.engines.tensorrt.device import Address, Device, Plan, PlanTensor
from lineside.engines.tensorrt.exchange import Exchange
from lineside.engines.tensorrt.vision import PIXELS, POSITIONS, DeviceVision, Grid

Weight = Callable[[str, str], Iterable[NDArray[Any]]]
"""By part (decoder, vision) and an input's name, its values in pieces, as the plans hold them."""
DECODER, VISION = "decoder", "vision"
_UPLOAD_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class PlanFiles:
    """A bundle's plans: `decoders` for different shapes of call, `visions` by grid (None: for any).

    Plans are read one at a time and not kept. `weight` and `table`: None where no plan takes any.
    """

    decoders: tuple[Callable[[], bytes], ...]
    visions: Mapping[Grid | None, Callable[[], bytes]] = field(default_factory=dict)
    weight: Weight | None = None
    table: Table | None = None


def load(device: Device, files: PlanFiles, config: VisionConfig | None) -> Loaded:
    """Loads everything onto the device. `config`: of the tower; None for an engine without one.

    Raises:
        IncompatibleBundle: a plan of another version or chip, or one that does not keep the contract.
        NotEnoughMemory: the device has too little memory.
    """
    with ExitStack() as stack:
        stack.callback(device.close)
        blocks = Blocks(device)
        stack.callback(blocks.close)
        decoders = [device.load(read()) for read in files.decoders]
        visions: dict[Grid | None, Plan] = {}
        if config is not None:
            visions = {grid: device.load(read()) for grid, read in files.visions.items()}
        kept: list[Block] = []
        wanted = {name: one for plan in decoders for name, one in weights_of(plan).items()}
        addresses = _upload(blocks, DECODER, wanted, files.weight, kept)
        decoder = DeviceDecoder(blocks, decoders, addresses, files.table)
        stack.callback(decoder.close)
        vision = None
        if config is not None and visions:
            wanted = {name: one for plan in visions.values() for name, one in _tower_weights(plan).items()}
            addresses = _upload(blocks, VISION, wanted, files.weight, kept)
            vision = DeviceVision(blocks, visions, config, addresses)
            stack.callback(vision.close)
        # The blocks of the weights live as long as what ends them.
        end = stack.pop_all()
        end.callback(kept.clear)
    return Loaded(decoder, vision, end.close, blocks.size_bytes)


def _tower_weights(plan: Plan) -> dict[str, PlanTensor]:
    return {
        name: tensor
        for name, tensor in plan.tensors.items()
        if tensor.is_input and name not in (PIXELS, *POSITIONS)
    }


def _upload(
    blocks: Blocks, part: str, wanted: Mapping[str, PlanTensor], weight: Weight | None, kept: list[Block]
) -> dict[str, Address]:
    """A part's weights on the device, each once, whichever plans take it; `kept` holds their memory."""
    if not wanted:
        return {}
    if weight is None:
        raise IncompatibleBundle(
            f"the plans take {min(wanted)} as an input, and no weights lie beside them: compile it again"
        )
    staging = Exchange(blocks, _UPLOAD_BYTES)
    found: dict[str, Address] = {}
    try:
        for name, tensor in wanted.items():
            size = tensor.size_bytes(tensor.shape)
            block = blocks.take(size)
            done = 0
            for piece in weight(part, name):
                raw = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
                if done + raw.size > size:
                    break
                for start in range(0, raw.size, _UPLOAD_BYTES):
                    staging.send(block.address + done + start, raw[start : start + _UPLOAD_BYTES])
                done += raw.size
            if done != size:
                raise IncompatibleBundle(
                    f"the weight {name} is not the {size} bytes that the plan takes: compile the engine again"
                )
            kept.append(block)
            found[name] = block.address
    finally:
        staging.free()
    return found
