"""A kernel's variant and a target in, PTX out: from the cache when these very sources were compiled before.

PTX depends on nothing but the sources, the macros, the target and the compiler, so the cache's key is their
hash and nothing is ever out of date; a folder of `$LINESIDE_CACHE` (the user's cache folder by default).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lineside.plugins.operator import Kernel, Variant
from lineside.plugins.ptx.nvrtc import nvrtc
from lineside.plugins.ptx.sources import OPTIONS, include_folders, macro_options, sources_hash

TARGETS = ("sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_110", "sm_120")
"""A100; RTX 30; Orin; RTX 40 and L4; H100; Thor; RTX 50."""

NEWEST_PTX = (9, 0)
"""What CUDA 13.0 writes: JetPack 7's driver takes it."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """One kernel's variant as PTX for one target."""

    kernel: Kernel
    variant: Variant
    target: str
    ptx: str

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the PTX."""
        return hashlib.sha256(self.ptx.encode()).hexdigest()[:16]


def default_cache() -> Path:
    """Where PTX is kept: `ptx` in `$LINESIDE_CACHE`, or in the user's cache folder."""
    given = os.environ.get("LINESIDE_CACHE")
    if given:
        return Path(given) / "ptx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lineside" / "ptx"


def compile_ptx(kernel: Kernel, variant: Variant, target: str, cache: Path | None) -> Compiled:
    """PTX of one variant for `target` (`sm_87`), kept in `cache` unless that is None.

    Raises NvrtcMissing, CompileFailed with the compiler's log.
    """
    compiler = nvrtc()
    key = hashlib.sha256(f"{compiler.version} {target} {sources_hash(kernel, variant)}".encode()).hexdigest()
    kept = cache / f"{kernel.name}-{key[:32]}.ptx" if cache is not None else None
    if kept is not None and kept.is_file():
        return Compiled(kernel=kernel, variant=variant, target=target, ptx=kept.read_text(encoding="utf-8"))
    ptx = compiler.compile(
        kernel.source.read_text(encoding="utf-8"),
        kernel.source.name,
        [
            f"--gpu-architecture={target.replace('sm_', 'compute_')}",
            *OPTIONS,
            *macro_options(variant),
            *(f"--include-path={folder}" for folder in include_folders(kernel.source)),
        ],
    )
    if kept is not None:
        _write(kept, ptx)
    return Compiled(kernel=kernel, variant=variant, target=target, ptx=ptx)


def _write(path: Path, text: str) -> None:
    """Complete or not at all: another process may look for it at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False
    ) as file:
        file.write(text)
    Path(file.name).replace(path)
