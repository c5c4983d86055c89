"""The vision tower on the device: a plan for each grid that was compiled for, or one that takes any.

A plan for a camera's resolution has the positions of its grid inside; one for any takes them as inputs. Knows
plans and patches; does not know pictures or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.engines.answering.runtime import Floats
from lineside.engines.config import VisionConfig
from lineside.engines.errors import BadImage, IncompatibleBundle
from lineside.engines.pixels import Patches
from lineside.engines.positions import vision_positions
from lineside.engines.tensorrt.blocks import Block, Blocks
from lineside.engines.tensorrt.device import Address, Execution, Plan
from lineside.engines.tensorrt.exchange import Exchange, lay_out

Grid = tuple[int, int]
"""Patches down and across."""
PIXELS, EMBEDS = "pixel_values", "image_embeds"
POSITIONS = ("position_index", "position_weight", "rope_cos", "rope_sin")


class DeviceVision:
    """The tower (`Vision`)."""

    def __init__(
        self,
        blocks: Blocks,
        plans: Mapping[Grid | None, Plan],
        config: VisionConfig,
        weights: Mapping[str, Address],
    ) -> None:
        """`plans`: by the grid they are for, None for any; `weights`: where the inputs that are weights lie.

        Raises:
            IncompatibleBundle: a plan does not take and give what the contract says.
        """
        for plan in plans.values():
            missing = [name for name in (PIXELS, EMBEDS) if name not in plan.tensors]
            if missing:
                raise IncompatibleBundle(f"a plan of the vision tower has no {missing[0]}")
        self._plans = dict(plans)
        self._config = config
        self._weights = weights
        self._blocks = blocks
        self._scratch: Block = blocks.take(max((plan.scratch_bytes for plan in plans.values()), default=1))
        self._into, self._out = Exchange(blocks), Exchange(blocks)
        self._executions: dict[tuple[Grid | None, int], Execution] = {}

    def run(self, picture: Patches, embeds: Floats) -> None:
        """Fills `embeds` [tokens, hidden] with the embeddings of one picture or clip.

        Raises:
            BadImage: nothing was compiled for a picture of this size.
        """
        grid = picture.grid_h, picture.grid_w
        tokens = grid[0] * grid[1] // self._config.merge**2
        out = embeds.reshape(picture.values.shape[0], tokens, -1)
        done = 0
        while done < len(out):
            with self._blocks.lock:
                done += self._run(grid, picture.values[done:], out[done:])

    def close(self) -> None:
        """Frees executions, staging and plans."""
        for execution in self._executions.values():
            execution.free()
        self._executions.clear()
        for exchange in (self._into, self._out):
            exchange.free()
        for plan in self._plans.values():
            plan.free()

    def _run(self, grid: Grid, values: Floats, out: Floats) -> int:
        """Runs as many frames as the plan takes at once; gives how many."""
        key, plan, profile, frames = self._choose(grid, values)
        given = self._given(plan, grid, values[:frames])
        tensors = plan.tensors
        in_parts, in_size = lay_out([(tensors[name], array.shape) for name, array in given.items()])
        out_parts, out_size = lay_out([(tensors[EMBEDS], out[:frames].shape)])
        self._into.make_room(in_size)
        self._out.make_room(out_size)
        execution = self._executions.get((key, profile))
        if execution is None:
            execution = plan.execution(profile, self._scratch.address)
            self._executions[key, profile] = execution
        for name, tensor in tensors.items():
            if name in in_parts:
                execution.shape(name, given[name].shape)
                execution.bind(name, self._into.address(in_parts[name]))
            elif tensor.is_input:
                execution.shape(name, tensor.shape)
                execution.bind(name, self._weights[name])
            else:
                execution.bind(name, self._out.address(out_parts[name]))
        self._into.write(in_parts, given)
        self._into.upload(in_size)
        execution.enqueue()
        self._out.download(out_size)
        self._blocks.device.synchronise()
        np.copyto(out[:frames], self._out.read(out_parts[EMBEDS]), casting="unsafe")
        return frames

    def _choose(self, grid: Grid, values: Floats) -> tuple[Grid | None, Plan, int, int]:
        for key in (grid, None):
            plan = self._plans.get(key)
            if plan is None:
                continue
            for profile, ranges in enumerate(plan.profiles):
                frames = min(len(values), ranges[PIXELS].most[0])
                if ranges[PIXELS].admits((frames, *values.shape[1:])):
                    return key, plan, profile, frames
        patch = self._config.patch
        known = ", ".join(f"{one[1] * patch}x{one[0] * patch}" for one in self._plans if one is not None)
        raise BadImage(
            f"this engine was compiled for pictures of {known or 'no size'}, and this one is rounded to "
            f"{grid[1] * patch}x{grid[0] * patch}: give its size to `lineside engine compile --image`"
        )

    def _given(self, plan: Plan, grid: Grid, values: Floats) -> dict[str, NDArray[Any]]:
        given: dict[str, NDArray[Any]] = {PIXELS: values}
        if any(name in plan.tensors for name in POSITIONS):
            config = self._config
            positions = vision_positions(
                *grid,
                merge=config.merge,
                table_side=config.position_side,
                head_dim=config.head_dim,
                theta=config.rope_theta,
            )
            made: tuple[NDArray[Any], ...] = (
                positions.index,
                positions.weight,
                positions.cos,
                positions.sin,
            )
            given |= {
                name: array for name, array in zip(POSITIONS, made, strict=True) if name in plan.tensors
            }
        return given
