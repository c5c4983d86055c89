"""Whether a machine will do, and what a person can do where it will not. Pure; standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from machine import Machine, l4t, numbers

OK, WARNING, FAILED = "OK", "WARNING", "FAILED"
LEAST_TENSORRT = (10, 16)
LEAST_MEMORY = 7 << 30
LEAST_DISK = 12 << 30
LEAST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what to do next."""

    name: str
    level: str
    message: str
    next_step: str = ""


def judge(machine: Machine) -> list:
    """Every finding, in the order in which one would look."""
    return [
        *_package(machine),
        _release(machine),
        _tensorrt(machine),
        _cuda(machine),
        _python(machine),
        _memory(machine),
        _disk(machine),
    ]


def _release(machine: Machine) -> Finding:
    release = machine.release
    if release is None:
        step = "run this on the Jetson itself; on a PC see docs/install.md"
        return Finding("release", FAILED, "this is no Jetson: there is no /etc/nv_tegra_release", step)
    jetpack = f" (JetPack {release.jetpack})" if release.jetpack else ""
    message = f"{machine.board or 'unknown board'}, Jetson Linux {release}{jetpack}"
    if release.at_least(39, 2):
        return Finding("release", OK, message)
    step = "flash or update to JetPack 7.2 or newer: docs.nvidia.com/jetson says how"
    if release.major <= 36:
        why = (
            "too old: its TensorRT 10.3 has neither plugins compiled ahead of time (10.9 brings them) nor "
            "attention, cache and rotary layers (10.15), which engines are made of; its Python is 3.10"
        )
        return Finding("release", FAILED, f"{message}: {why}", step)
    why = "too old: its TensorRT 10.13 has no attention, cache or rotary layers (10.15 brings them)"
    return Finding("release", FAILED, f"{message}: {why}", step)


def _package(machine: Machine) -> list:
    """Both own /opt/lineside, and the package's environment does not see the system's TensorRT."""
    if "lineside" not in machine.packages:
        return []
    message = (
        f"the Debian package lineside {machine.packages['lineside']} is installed, and owns /opt/lineside"
    )
    step = "sudo apt remove lineside (results, settings and keys stay), then run this again"
    return [Finding("package", FAILED, message, step)]


def _tensorrt(machine: Machine) -> Finding:
    version = machine.tensorrt
    if not version:
        return Finding(
            "tensorrt", WARNING, "TensorRT is not installed", "this installer installs it with apt"
        )
    if numbers(version)[:2] < LEAST_TENSORRT:
        oldest = ".".join(map(str, LEAST_TENSORRT))
        step = "sudo apt update && sudo apt install tensorrt, from JetPack 7.2's own sources"
        return Finding("tensorrt", FAILED, f"TensorRT {version} is older than {oldest}", step)
    return Finding("tensorrt", OK, f"TensorRT {version}")


def _cuda(machine: Machine) -> Finding:
    if not machine.cuda:
        step = "sudo apt install nvidia-jetpack-runtime, or only cuda-runtime"
        return Finding("cuda", WARNING, "no CUDA below /usr/local/cuda", step)
    if numbers(machine.cuda)[:1] < (13,):
        step = "install JetPack 7.2's CUDA 13: engines are compiled for it"
        return Finding("cuda", FAILED, f"CUDA {machine.cuda} is older than 13.0", step)
    return Finding("cuda", OK, f"CUDA {machine.cuda}")


def _python(machine: Machine) -> Finding:
    version = ".".join(map(str, machine.python))
    if machine.python[:2] < LEAST_PYTHON:
        return Finding(
            "python", FAILED, f"Python {version} is older than 3.11", "JetPack 7.2 comes with 3.12"
        )
    return Finding("python", OK, f"Python {version}")


def _memory(machine: Machine) -> Finding:
    message = f"{machine.memory / 2**30:.1f} GiB of memory, shared by processor and graphics"
    if machine.memory < LEAST_MEMORY:
        step = "take an 8 GB module or larger; a 4 GB one has no room for a vision engine beside the system"
        return Finding("memory", FAILED, message, step)
    return Finding("memory", OK, message)


def _disk(machine: Machine) -> Finding:
    message = f"{machine.disk_free / 2**30:.1f} GiB free below /opt"
    if machine.disk_free < LEAST_DISK:
        step = f"make room: software, engine, weights and plans take up to {LEAST_DISK >> 30} GiB"
        return Finding("disk", FAILED, message, step)
    return Finding("disk", OK, message)


def choose_mode(root, name: str):  # type: ignore[no-untyped-def]
    """The power mode of this name, as nvpmodel knows it, or of this number.

    Raises:
        LookupError: there is none; the message names those there are.
    """
    modes = l4t.power_modes(root)
    for mode in modes:
        if name.upper() in (mode.name.upper(), str(mode.number)):
            return mode
    known = ", ".join(mode.name for mode in modes) or "none: is nvpmodel installed?"
    raise LookupError(f"there is no power mode {name!r}; this box has {known}")


def cost_of(root, mode) -> str:  # type: ignore[no-untyped-def]
    """What a mode costs against the box without limits: the memory's clock bounds decoding, the graphics
    clock reading prompts and pictures."""
    folder = l4t.gpu_folder(root)
    steps = l4t.read_text(folder / "available_frequencies").split() if folder is not None else []
    fastest_gpu = max((int(step) for step in steps if step.isdigit()), default=0)
    fastest_memory = max((one.memory_hz or 0 for one in l4t.power_modes(root)), default=0)
    said = []
    if mode.gpu_hz and fastest_gpu:
        share = min(mode.gpu_hz / fastest_gpu, 1)
        said.append(
            f"graphics up to {mode.gpu_hz / 1e6:.0f} of {fastest_gpu / 1e6:.0f} MHz: prompts and "
            f"pictures are read at most {share:.0%} as fast"
        )
    if mode.memory_hz and fastest_memory and mode.memory_hz < fastest_memory:
        said.append(
            f"memory up to {mode.memory_hz / 1e6:.0f} of {fastest_memory / 1e6:.0f} MHz: decoding at most "
            f"{mode.memory_hz / fastest_memory:.0%} as fast"
        )
    if not said:
        said.append("no limit on graphics or memory clocks: the supply and the cooling must bear it")
    return "; ".join(said)
