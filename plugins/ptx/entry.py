"""Reads the head of a PTX text, and holds it against what the kernel's contract says it must be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lineside.plugins.operator import Kernel

_VERSION = re.compile(r"^\.version\s+(\d+)\.(\d+)", re.MULTILINE)
_TARGET = re.compile(r"^\.target\s+(\w+)", re.MULTILINE)
_ENTRY = re.compile(r"^\.visible\s+\.entry\s+(\w+)\s*\((.*?)\)", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A PTX text's only kernel: PTX version, target (`sm_87`), symbol, and its parameters' kinds in order."""

    version: tuple[int, int]
    target: str
    name: str
    parameters: tuple[str, ...]
    """`pointer`, `int32`, or PTX's own name of anything else."""


class NotOneKernel(Exception):
    """A PTX text does not hold exactly one kernel with a version and a target."""


def read_entry(ptx: str) -> Entry:
    """The one kernel of a PTX text. Raises NotOneKernel."""
    version, target = _VERSION.search(ptx), _TARGET.search(ptx)
    entries = _ENTRY.findall(ptx)
    if version is None or target is None or len(entries) != 1:
        names = ", ".join(name for name, _ in entries) or "none"
        raise NotOneKernel(f'a PTX text must hold one extern "C" kernel; this one holds: {names}')
    name, parameters = entries[0]
    return Entry(
        version=(int(version[1]), int(version[2])),
        target=target[1],
        name=name,
        parameters=tuple(_kind(kind) for kind in _PARAMETER.findall(parameters)),
    )


def contract(kernel: Kernel) -> tuple[str, ...]:
    """The parameters TensorRT will pass: inputs' pointers, int32 scalars, outputs' pointers."""
    return (
        *("pointer" for _ in kernel.inputs),
        *("int32" for _ in kernel.scalars),
        *("pointer" for _ in kernel.outputs),
    )


def faults(kernel: Kernel, target: str, ptx: str, newest: tuple[int, int]) -> list[str]:
    """What of the PTX breaks the contract, in words; `newest`: the PTX version an old driver takes."""
    try:
        entry = read_entry(ptx)
    except NotOneKernel as wrong:
        return [str(wrong)]
    found = []
    if entry.version > newest:
        found.append(f"PTX version {entry.version} is newer than {newest}: an older driver refuses it")
    if entry.target != target:
        found.append(f"made for {entry.target}, not {target}")
    if entry.name != kernel.name:
        found.append(f"the kernel is called {entry.name}, not {kernel.name}")
    if entry.parameters != contract(kernel):
        found.append(
            f"takes ({', '.join(entry.parameters)}), but TensorRT will pass ({', '.join(contract(kernel))})"
        )
    return found


def _kind(ptx_type: str) -> str:
    return {"u64": "pointer", "u32": "int32", "s32": "int32", "b32": "int32"}.get(ptx_type, ptx_type)
