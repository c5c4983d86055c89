"""A kernel on NumPy arrays: launched as its description says, watched for what it must not touch.

Outputs start as NaN (all bits set) between guard zones; a changed input or guard is an error.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.plugins.host.build import Mode, build
from lineside.plugins.operator import Integers, Kernel, Launch, Variant, numpy_dtype, output_shapes, sizes_of

GUARD = 256
"""Bytes before and after every tensor, all set, that a kernel must leave so."""

_one_at_a_time = threading.Lock()
_loaded: dict[Path, ctypes.CDLL] = {}


class KernelFailed(RuntimeError):
    """The kernel did what no kernel may: the message says which tensor, or gives the sanitizer's report."""


def run(
    kernel: Kernel,
    variant: Variant,
    inputs: Mapping[str, NDArray[Any]],
    *,
    mode: Mode = Mode.PLAIN,
    order: int = 0,
    seconds: float = 600.0,
) -> dict[str, NDArray[Any]]:
    """Runs one launch and returns the outputs by name.

    `inputs` are converted to the kernel's dtypes (`bfloat16` is ml_dtypes'). `order` chooses in which order
    the emulated threads and blocks run: 0 in turn, 1 backwards, any other number shuffled by it; a right
    kernel gives the same bits for all. `seconds` limits a sanitizer's program.

    Raises:
        KernelFailed: the kernel wrote where it must not, waited for ever, or a sanitizer objects.
        NoCompiler, KernelRefused: as `build`.
        ValueError: inputs are missing or their shapes contradict each other.
    """
    given = {t.name: np.ascontiguousarray(inputs[t.name], numpy_dtype(t, variant)) for t in kernel.inputs}
    sizes = sizes_of(kernel, {name: array.shape for name, array in given.items()})
    launch = kernel.launch(sizes, Integers(), variant)
    if len(launch.scalars) != len(kernel.scalars):
        raise ValueError(f"{kernel.name} names {len(kernel.scalars)} scalars and gives {len(launch.scalars)}")
    shapes = output_shapes(kernel, sizes, variant)
    empty = {t.name: np.empty(shapes[t.name], numpy_dtype(t, variant)) for t in kernel.outputs}
    made = build(kernel, variant, mode)
    if mode is Mode.PLAIN:
        return _call(made, launch, given, empty, order)
    return _execute(made, launch, given, empty, order, seconds)


def _guarded(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The array's bytes between two guard zones, aligned as the device's allocator aligns (256 bytes)."""
    room = np.full(array.nbytes + 2 * GUARD + 256, 0xFF, np.uint8)
    start = -room.ctypes.data % 256
    return room[start : start + array.nbytes + 2 * GUARD]


def _call(
    library: Path,
    launch: Launch,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    order: int,
) -> dict[str, NDArray[Any]]:
    memory = {name: _guarded(array) for name, array in (dict(inputs) | dict(outputs)).items()}
    for name, array in inputs.items():
        memory[name][GUARD : GUARD + array.nbytes] = array.reshape(-1).view(np.uint8)
    pointers = [ctypes.c_void_p(room.ctypes.data + GUARD) for room in memory.values()]
    arguments: list[Any] = [*pointers[: len(inputs)], *(ctypes.c_int32(int(n)) for n in launch.scalars)]
    arguments += pointers[len(inputs) :]
    with _one_at_a_time:
        loaded = _loaded.get(library) or _loaded.setdefault(library, ctypes.CDLL(str(library)))
        if loaded.cuda_on_host_arguments() != len(arguments):
            raise KernelFailed(
                f"{library.stem} takes {loaded.cuda_on_host_arguments()} arguments, not {len(arguments)}"
            )
        loaded.cuda_on_host_launch.restype = ctypes.c_char_p
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(a) for a in arguments))
        grid = (ctypes.c_uint * 3)(*(int(n) for n in launch.grid))
        block = (ctypes.c_uint * 3)(*launch.block)
        why = loaded.cuda_on_host_launch(addresses, grid, block, int(launch.shared_bytes), order)
    if why is not None:
        raise KernelFailed(why.decode())
    for name, array in (dict(inputs) | dict(outputs)).items():
        room = memory[name]
        if not (room[:GUARD] == 0xFF).all() or not (room[GUARD + array.nbytes :] == 0xFF).all():
            raise KernelFailed(f"it wrote outside {name}")
        if name in inputs and (room[GUARD : GUARD + array.nbytes] != array.reshape(-1).view(np.uint8)).any():
            raise KernelFailed(f"it wrote to its input {name}")
    return {
        name: memory[name][GUARD : GUARD + array.nbytes].view(array.dtype).reshape(array.shape).copy()
        for name, array in outputs.items()
    }


def _execute(
    program: Path,
    launch: Launch,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    order: int,
    seconds: float,
) -> dict[str, NDArray[Any]]:
    lines = [*launch.grid, *launch.block, launch.shared_bytes, order]
    lines.append(len(inputs) + len(launch.scalars) + len(outputs))
    arguments = [f"i {array.nbytes}" for array in inputs.values()]
    arguments += [f"s {int(number)}" for number in launch.scalars]
    first_output = len(arguments)
    arguments += [f"o {array.nbytes}" for array in outputs.values()]
    environment = os.environ | {
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=0:report_signal_unsafe=0:history_size=4",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "launch").write_text("\n".join([*(str(int(n)) for n in lines), *arguments]))
        for i, array in enumerate(inputs.values()):
            array.tofile(folder / str(i))
        command = [str(program), str(folder)]
        done = _watched(command, environment, seconds)
        if "unexpected memory mapping" in done.stderr and (still := shutil.which("setarch")):
            # Kernels that spread addresses further than this ThreadSanitizer can follow.
            done = _watched([still, "--addr-no-randomize", *command], environment, seconds)
        if done.returncode != 0:
            raise KernelFailed(done.stderr or f"{program.stem} ended with {done.returncode}")
        return {
            tensor: np.fromfile(folder / str(first_output + i), array.dtype).reshape(array.shape)
            for i, (tensor, array) in enumerate(outputs.items())
        }


def _watched(
    command: list[str], environment: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds, env=environment
    )
