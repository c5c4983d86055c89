"""TensorRT and TensorRT-RTX as one: found, loaded, and told apart where they differ.

The only place that imports either. Knows wheels, shared libraries and versions; does not know engines.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from lineside.engines.errors import EngineError

Runtime = Literal["tensorrt", "tensorrt-rtx"]
RUNTIMES: tuple[Runtime, ...] = ("tensorrt", "tensorrt-rtx")
OLDEST_TENSORRT = (10, 16)
_RTX_WHEELS = ("onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-ep-nv-tensorrt-rtx-cu12")
# In the order in which they need each other.
_RTX_LIBRARIES = (r"libcudart\.so\.\d", r"libtensorrt_rtx\.so\.\d", r"libtensorrt_onnxparser_rtx\.so\.\d")
_INSTALL: dict[Runtime, str] = {
    "tensorrt": "On a Jetson it comes with JetPack 7.2 (`sudo apt install tensorrt`, and a virtual "
    "environment "
    "made with --system-site-packages); on x86 install the extra lineside[tensorrt], whose library "
    "comes from "
    "NVIDIA's index",
    "tensorrt-rtx": "Install it with: pip install --no-deps tensorrt-rtx-cu13-bindings "
    "onnxruntime-ep-nv-tensorrt-rtx-cu13",
}


class LibraryMissing(EngineError):
    """TensorRT is not installed, does not load, or is too old; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded library. `trt`: its Python module; `version`: as it says it, `10.16.1` or `1.7.1`."""

    runtime: Runtime
    version: str
    trt: ModuleType

    @property
    def takes_plugins(self) -> bool:
        """Whether our kernels can be compiled in as ahead-of-time plugins (QDP); RTX's bindings have none."""
        return self.runtime == "tensorrt"

    @property
    def targets(self) -> tuple[int, ...]:
        """Chips it can compile for wherever it runs; empty where it compiles for the chip it runs on only."""
        named = getattr(self.trt, "ComputeCapability", None)
        if named is None or self.runtime == "tensorrt":
            return ()
        return tuple(sorted(int(name[2:]) for name in named.__members__ if re.fullmatch(r"SM\d+", name)))

    def capability(self, sm: int) -> Any:
        """Its name for a chip.

        Raises:
            LibraryMissing: it does not compile for this one.
        """
        if sm not in self.targets:
            known = ", ".join(f"{one}" for one in self.targets)
            raise LibraryMissing(
                f"{self.runtime} {self.version} compiles for the chips {known}, not for {sm}: choose "
                "one of them "
                "with --sm, or another --runtime"
            )
        return self.trt.ComputeCapability.__members__[f"SM{sm}"]


@cache
def load(runtime: Runtime) -> Library:
    """The library for a runtime, loaded once a process.

    Raises:
        LibraryMissing: with what to install.
    """
    trt = _rtx() if runtime == "tensorrt-rtx" else _imported(runtime, "tensorrt")
    version = ".".join(str(trt.__version__).split(".")[:3])
    if runtime == "tensorrt" and _numbers(version) < OLDEST_TENSORRT:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        raise LibraryMissing(
            f"TensorRT {version} is installed, and {oldest} is the oldest with the layers that engines need: "
            f"update it. {_INSTALL[runtime]}"
        )
    return Library(runtime, version, trt)


def _rtx() -> ModuleType:
    """The bindings look their libraries up by SONAME, and the wheel that has them is on no search path.

    Loaded from where they lie beforehand, they are found by that name in the process.
    """
    files = _rtx_files()
    for pattern in _RTX_LIBRARIES:
        path = next((one for one in files if re.match(pattern, one.name)), None)
        if path is None:
            continue  # a system's own library, if there is one
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise LibraryMissing(f"{path.name} does not load: {error}. {_INSTALL['tensorrt-rtx']}") from error
    return _imported("tensorrt-rtx", "tensorrt_rtx_bindings")


def _rtx_files() -> list[Path]:
    for wheel in _RTX_WHEELS:
        try:
            found = importlib.metadata.distribution(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
        return [Path(str(found.locate_file(file))) for file in found.files or ()]
    return []


def _imported(runtime: Runtime, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        what = "TensorRT-RTX" if runtime == "tensorrt-rtx" else "TensorRT"
        raise LibraryMissing(
            f"{what} cannot be loaded ({_first_line(error)}). {_INSTALL[runtime]}."
        ) from error


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
