"""One variant of a kernel, compiled by g++: a library to call, or a program under a sanitizer.

Results are kept by a hash of everything that went in (sources, headers, macros, flags, the compiler's
version) under `$XDG_CACHE_HOME/lineside/kernels` (default `~/.cache`): a second run compiles nothing.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lineside.plugins import include
from lineside.plugins.operator import Kernel, Variant, macros

HERE = Path(__file__).parent
COMMON = (
    "-std=c++17",
    "-g1",
    "-fPIC",
    "-U_FORTIFY_SOURCE",
    "-Wall",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
)


class NoCompiler(RuntimeError):
    """There is no g++ here: install it (`sudo apt install g++`) to run kernels on the CPU."""


class KernelRefused(RuntimeError):
    """g++ did not accept the kernel; the message is the compiler's."""


class Mode(enum.Enum):
    """What a build is for."""

    PLAIN = "plain"
    """Fast: a library called in this process."""
    ADDRESS = "address"
    """A program that stops at the first access outside a tensor or undefined operation."""
    THREAD = "thread"
    """A program that reports every race between emulated threads."""


FLAGS: dict[Mode, tuple[str, ...]] = {
    # The same bits on every processor, whether it has fused multiply-add or not.
    Mode.PLAIN: ("-O2", "-ffp-contract=off"),
    # A wide load from an address that is no multiple of its size faults on a GPU: UBSan says so here.
    Mode.ADDRESS: (
        "-O1",
        "-fsanitize=address,undefined",
        "-fsanitize-sections=cuda_shared",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ),
    Mode.THREAD: ("-O1", "-fsanitize=thread"),
}


@functools.cache
def compiler() -> tuple[str, str]:
    """The path of g++ and its version line. Raises `NoCompiler`."""
    path = shutil.which("g++")
    if path is None:
        raise NoCompiler(NoCompiler.__doc__)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return path, version.stdout.splitlines()[0]


def cache() -> Path:
    """Where builds are kept; made if missing."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "lineside" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A service without a home: still once per user and boot, not once per call.
        folder = Path(tempfile.gettempdir()) / f"lineside-kernels-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def build(kernel: Kernel, variant: Variant, mode: Mode = Mode.PLAIN) -> Path:
    """The compiled variant, from the cache if it is there: a shared library, or an executable for sanitizers.

    Raises:
        NoCompiler: there is no g++.
        KernelRefused: the source does not compile.
    """
    unit = "\n".join(
        [
            *(f"#define {name} {value}" for name, value in macros(variant).items()),
            '#include "cuda_on_host.h"',
            f'#include "{kernel.source}"',
            f"CUDA_ON_HOST_KERNEL({kernel.name})",
        ]
    )
    # The neighbours too: a kernel may include headers of its own folder.
    read = [kernel.source, *sorted(kernel.source.parent.glob("*.cuh")), *sorted(include.FOLDER.glob("*.cuh"))]
    return _made(kernel.name, unit, mode, tuple(read))


def _made(name: str, unit: str, mode: Mode, read: tuple[Path, ...]) -> Path:
    path, version = compiler()
    runtime = _runtime(mode)
    digest = hashlib.sha256()
    for part in (unit, version, mode.value, *FLAGS[mode], *COMMON):
        digest.update(part.encode() + b"\0")
    for file in (*read, HERE / "cuda_on_host.h"):
        digest.update(file.read_bytes())
    program = mode is not Mode.PLAIN
    made = (
        cache()
        / f"{name}-{mode.value}-{digest.hexdigest()[:20]}-{runtime.stem[-8:]}{'' if program else '.so'}"
    )
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        source, result = Path(folder) / "unit.cpp", Path(folder) / "result"
        source.write_text(unit)
        places = [f"-I{HERE}", f"-I{include.FOLDER}", f"-I{read[0].parent}"]
        shape = [str(HERE / "from_files.cpp")] if program else ["-shared", "-fvisibility=hidden"]
        _run([path, *COMMON, *FLAGS[mode], *places, str(source), str(runtime), *shape, "-o", str(result)])
        result.replace(made)
    return made


def _runtime(mode: Mode) -> Path:
    """The emulation itself, as an object file that no sanitizer instruments."""
    path, version = compiler()
    define = [] if mode is Mode.PLAIN else [f"-DCUDA_ON_HOST_{mode.name}"]
    sources = [HERE / "cuda_on_host.cpp", HERE / "cuda_on_host.h"]
    digest = hashlib.sha256("\0".join([version, *COMMON, *define]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    made = cache() / f"runtime-{mode.value}-{digest.hexdigest()[:8]}.o"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            result = Path(folder) / "result.o"
            _run(
                [
                    path,
                    *COMMON,
                    "-O2",
                    "-fvisibility=hidden",
                    *define,
                    "-c",
                    str(sources[0]),
                    "-o",
                    str(result),
                ]
            )
            result.replace(made)
    return made


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KernelRefused(f"{' '.join(command)}\n{done.stderr}")
