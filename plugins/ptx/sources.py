"""What a kernel is compiled from: its source, the headers of ours it includes, and the hash of all of it."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from lineside.plugins.include import FOLDER
from lineside.plugins.operator import Kernel, Variant, macros

OPTIONS = ("--std=c++17",)
"""What every kernel is compiled with, besides its target, macros and include folders."""

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


@cache
def files(source: Path) -> tuple[Path, ...]:
    """`source` and every file it includes by `"..."`, directly or not, that lies in our tree; sorted."""
    found: set[Path] = set()
    waiting = [source.resolve()]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in _INCLUDE.findall(path.read_text(encoding="utf-8")):
            places = [folder / name for folder in (path.parent, *include_folders(source))]
            waiting += [place.resolve() for place in places if place.is_file()][:1]
    return tuple(sorted(found))


def include_folders(source: Path) -> tuple[Path, ...]:
    """Where `"..."` is looked for: NVRTC brings no headers of CUDA, and the kernels use none."""
    return (source.resolve().parent, FOLDER)


def macro_options(variant: Variant) -> tuple[str, ...]:
    """A variant's macros as the compiler takes them, sorted; its activation's type is one of them."""
    return tuple(f"-D{name}={value}" for name, value in sorted(macros(variant).items()))


def sources_hash(kernel: Kernel, variant: Variant) -> str:
    """SHA-256 (its first 16 hexadecimal digits) of everything of ours that decides the PTX."""
    digest = hashlib.sha256()
    for text in (kernel.name, *OPTIONS, *macro_options(variant)):
        digest.update(text.encode() + b"\0")
    for path in files(kernel.source):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
