"""What a chip spends on a kernel: PTX assembled by `ptxas`, which comes with nvcc and needs no GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lineside.plugins.ptx.compile import Compiled

_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_RELEASE = re.compile(r"\bV(\d+\.\d+\.\d+)")


class AssemblyFailed(Exception):
    """`ptxas` refused a PTX text; the text is its message."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """A kernel on one chip: registers a thread; static shared memory a block, stack and spills, in bytes."""

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


def find_ptxas() -> Path | None:
    """The assembler of this machine: in the path, or where CUDA is usually installed."""
    found = shutil.which("ptxas") or shutil.which("/usr/local/cuda/bin/ptxas")
    return Path(found) if found else None


def release(ptxas: Path) -> str:
    """The assembler's version, as it says it (`13.0.88`)."""
    said = subprocess.run([str(ptxas), "--version"], capture_output=True, text=True, check=True).stdout
    found = _RELEASE.search(said)
    return found[1] if found else "unknown"


def assemble(ptxas: Path, compiled: Compiled) -> Usage:
    """What `compiled` needs on its target. Raises AssemblyFailed."""
    run = subprocess.run(
        [str(ptxas), "-v", f"-arch={compiled.target}", "-o", "/dev/null", "-"],
        input=compiled.ptx,
        capture_output=True,
        text=True,
        check=False,
    )
    name = f"{compiled.kernel.name} ({compiled.variant.name}) for {compiled.target}"
    if run.returncode != 0:
        raise AssemblyFailed(f"{name}:\n{run.stderr.strip()}")
    return read_usage(run.stderr, name)


def read_usage(said: str, name: str) -> Usage:
    """The numbers in what `ptxas -v` says of one kernel. Raises AssemblyFailed when they are not there."""
    used, spills, shared = _USED.search(said), _SPILLS.search(said), _SHARED.search(said)
    if used is None or spills is None:
        raise AssemblyFailed(f"{name}: ptxas said nothing of registers and spills:\n{said.strip()}")
    return Usage(
        registers=int(used[1]),
        shared=int(shared[1]) if shared else 0,
        stack=int(spills[1]),
        spill_stores=int(spills[2]),
        spill_loads=int(spills[3]),
    )
