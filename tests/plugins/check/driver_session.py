"""Run by `test_driver.py` as a program of its own, beside the stand-in for the driver's library.

Goes through the check with the real bindings and our `Driver`, and prints what it saw as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from emulated_device import spoilt
from scaled_add import KERNEL

from lineside.plugins.check import report
from lineside.plugins.check.device import DeviceFault, Loaded
from lineside.plugins.check.driver import Driver, open_driver
from lineside.plugins.check.run import Checker
from lineside.plugins.host.build import build
from lineside.plugins.ptx.compile import Compiled, compile_ptx

LIBRARY = ctypes.CDLL("libcuda.so.1")


class DriverOnHost(Driver):
    """Tells the stand-in which file g++ made of a kernel before its PTX is loaded."""

    def load(self, compiled: Compiled) -> Loaded:
        LIBRARY.stand_in_next_kernel(str(build(compiled.kernel, compiled.variant)).encode())
        return super().load(compiled)


def opened() -> DriverOnHost:
    """The stand-in's only device."""
    plain = open_driver(0)
    plain.close()
    return DriverOnHost(plain._driver, 0)


def refused(what: Any, *arguments: Any) -> str:
    """The words of the fault that a call ends in."""
    try:
        what(*arguments)
    except DeviceFault as fault:
        return str(fault)
    return "not refused"


def one_by_one(cache: Path) -> dict[str, Any]:
    """Each of the device's methods by itself."""
    device = opened()
    content = np.arange(1000, dtype=np.uint8)
    place = device.allocate(1000)
    device.write(place, content)
    device.fill(place + 10, 7, 5)
    found = device.read(place, 1000)
    content[10:15] = 7
    compiled = compile_ptx(KERNEL, KERNEL.variants[0], "sm_87", cache)
    loaded = device.load(compiled)
    seen = {
        "kept": bool((found == content).all()),
        "spent": [loaded.registers, loaded.local, loaded.shared],
        "copies": len(device.time_copy(1 << 16, 3)),
        "allocations": LIBRARY.stand_in_allocations(),
        "beyond": refused(device.read, place, 1 << 20),
        "garbage": refused(device.load, replace(compiled, ptx="no PTX")),
        "misnamed": refused(device.load, replace(compiled, ptx=compiled.ptx.replace("scaled_add", "other"))),
    }
    device.free(place)
    seen["freed twice"] = refused(device.free, place)
    device.close()
    seen["closed"] = refused(device.allocate, 1)
    return seen


def checked(folder: Path) -> dict[str, Any]:
    """The whole check, with a kernel in the middle that takes the device down."""
    small = replace(KERNEL, sizes=KERNEL.sizes[:1])
    bad = spoilt(folder, "    __syncthreads();", "    if (i == 1) __trap();")
    checker = Checker(opened, seed=0, cache=folder / "cache")
    bench = checker.bench()
    rows = list(checker.rows([small, replace(bad, sizes=small.sizes[:1]), small], bench))
    checker.close()
    return report.as_object(bench, rows, None)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {"one by one": one_by_one(folder / "cache"), "check": checked(folder)}
    found["left"] = [LIBRARY.stand_in_allocations(), LIBRARY.stand_in_retained()]
    sys.stdout.write(json.dumps(found))
