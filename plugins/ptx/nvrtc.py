"""NVIDIA's run-time compiler, through ctypes: CUDA C++ text in, PTX text out, with no GPU and no toolkit.

The library comes from the wheel `nvidia-cuda-nvrtc` (the 13.0 line: PTX of a newer compiler is refused by
an older driver) or, where that is not installed, from the system's CUDA. Knows nothing of our kernels.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path


class NvrtcMissing(Exception):
    """No NVRTC library was found: nothing can be compiled here."""


class CompileFailed(Exception):
    """NVRTC refused a source; the text is its log."""


class Nvrtc:
    """One loaded NVRTC library. Its calls are safe from several threads at once."""

    def __init__(self, path: Path | str) -> None:
        if isinstance(path, Path):
            # The library opens this second one by name alone, which finds it only when it is already loaded.
            for builtins in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(path))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def compile(self, source: str, name: str, options: Sequence[str]) -> str:
        """PTX of `source`; `name` stands in messages. Raises CompileFailed with the compiler's log."""
        program = ctypes.c_void_p()
        text = source.encode()
        self._call("nvrtcCreateProgram", ctypes.byref(program), text, name.encode(), 0, None, None)
        try:
            arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            if self._library.nvrtcCompileProgram(program, len(options), arguments) != 0:
                raise CompileFailed(f"{name} with {' '.join(options)}:\n{self._text(program, 'ProgramLog')}")
            return self._text(program, "PTX")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> str:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.value.decode(errors="replace").strip() + "\n"

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            explain = self._library.nvrtcGetErrorString
            explain.restype = ctypes.c_char_p
            raise CompileFailed(f"{name}: {explain(status).decode()}")


@cache
def nvrtc() -> Nvrtc:
    """The library of this environment, loaded once. Raises NvrtcMissing with what to install."""
    wheels = [path for folder in wheel_folders() for path in (folder / "lib").glob("libnvrtc.so.*")]
    candidates: list[Path | str] = [*sorted(wheels), "libnvrtc.so.13", "libnvrtc.so"]
    for candidate in candidates:
        try:
            return Nvrtc(candidate)
        except OSError:
            continue
    raise NvrtcMissing(
        "no NVRTC here, which compiles the kernels: pip install 'lineside[kernels]', or install CUDA 13"
    )


def wheel_folders() -> list[Path]:
    """Where NVIDIA's wheels put libraries and headers in this environment: one folder a CUDA release."""
    found = importlib.util.find_spec("nvidia")
    places = found.submodule_search_locations if found else None
    return [folder for place in places or () for folder in sorted(Path(place).glob("cu*"))]
