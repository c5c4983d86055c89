"""One kernel on one case, against its naive reference: poisoned outputs, guarded tensors, two runs alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.check.buffers import POISON, arguments, on_device
from lineside.plugins.check.device import Device, Loaded
from lineside.plugins.operator import Case

_OTHER_POISON = 0x55


@dataclass(frozen=True)
class Comparison:
    """The largest error of any output, relative to that output's largest magnitude, and what is wrong."""

    error: float
    faults: tuple[str, ...]


def compare(device: Device, loaded: Loaded, case: Case) -> Comparison:
    """Runs `case` twice over different leavings in memory, and compares. Raises DeviceFault, ValueError."""
    kernel, variant = loaded.compiled.kernel, loaded.compiled.variant
    wanted = kernel.naive(case.inputs, variant)
    with on_device(device, arguments(loaded, case)) as (buffers,):
        call = buffers.call(loaded)
        found = []
        for byte in (POISON, _OTHER_POISON):
            buffers.poison(byte)
            device.run(call)
            found.append(buffers.outputs())
        trespasses = buffers.trespasses()
    errors, faults = _errors(found[0], wanted, case.tolerance)
    faults += [f"{name} differs from one run to the next" for name in found[0] if _differ(name, *found)]
    return Comparison(max(errors, default=0.0), (*faults, *trespasses))


def _errors(
    found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], tolerance: float
) -> tuple[list[float], list[str]]:
    errors, faults = [], []
    for name, array in found.items():
        want = np.asarray(wanted[name], np.float64)
        if want.shape != array.shape:
            faults.append(f"{name} has shape {array.shape}, the reference's has {want.shape}")
            continue
        have = array.astype(np.float64)
        if not np.isfinite(want).all():
            faults.append(f"{name}: the reference itself is not finite: draw other inputs")
            continue
        strange = int(np.count_nonzero(~np.isfinite(have)))
        if strange:
            errors.append(float("inf"))
            faults.append(f"{name}: {strange} of {have.size} numbers are not numbers, or were never written")
            continue
        if array.dtype.kind in "iub":
            if (have != want).any():
                faults.append(
                    f"{name}: {int(np.count_nonzero(have != want))} of {have.size} integers are others"
                )
            continue
        largest = float(np.max(np.abs(want), initial=0.0))
        off = float(np.max(np.abs(have - want), initial=0.0))
        errors.append(off / largest if largest else off)
        if errors[-1] > tolerance:
            faults.append(f"{name} is off by {errors[-1]:.2e}, more than {tolerance:.0e}")
    return errors, faults


def _differ(name: str, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one[name].tobytes() != other[name].tobytes()
