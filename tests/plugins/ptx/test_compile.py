"""From a kernel's variant to PTX, and the cache that never gives what other sources made."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scaled_add import KERNEL

from lineside.plugins.include import FOLDER
from lineside.plugins.operator import Kernel
from lineside.plugins.ptx import compile as compile_module
from lineside.plugins.ptx.compile import NEWEST_PTX, TARGETS, compile_ptx, default_cache
from lineside.plugins.ptx.entry import faults
from lineside.plugins.ptx.nvrtc import CompileFailed, NvrtcMissing, nvrtc
from lineside.plugins.ptx.sources import files, macro_options, sources_hash

VARIANT = KERNEL.variants[0]


@pytest.fixture(autouse=True, scope="module")
def _compiler() -> None:
    try:
        nvrtc()
    except NvrtcMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def copied(tmp_path: Path) -> Kernel:
    """The sample kernel with a source of its own that a test may change."""
    source = tmp_path / KERNEL.source.name
    shutil.copy(KERNEL.source, source)
    shutil.copy(FOLDER / "numbers.cuh", tmp_path)
    return replace(KERNEL, source=source)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("variant", KERNEL.variants, ids=lambda variant: variant.name)
def test_every_variant_compiles_for_every_target(variant, target: str) -> None:
    compiled = compile_ptx(KERNEL, variant, target, None)

    assert faults(KERNEL, target, compiled.ptx, NEWEST_PTX) == []


def test_the_same_sources_are_not_compiled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_ptx(KERNEL, VARIANT, "sm_87", tmp_path)

    class NeverCompiles:
        version = nvrtc().version

    monkeypatch.setattr(compile_module, "nvrtc", NeverCompiles)
    again = compile_ptx(KERNEL, VARIANT, "sm_87", tmp_path)

    assert again == first
    assert [path.suffix for path in tmp_path.iterdir()] == [".ptx"]


def test_another_target_variant_or_source_is_other_ptx(copied: Kernel, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = {
        compile_ptx(copied, VARIANT, "sm_87", cache).digest,
        compile_ptx(copied, VARIANT, "sm_89", cache).digest,
        compile_ptx(copied, KERNEL.variants[1], "sm_87", cache).digest,
    }

    assert len(made) == 3
    assert len(list(cache.iterdir())) == 3


def test_a_changed_header_changes_the_hash(copied: Kernel) -> None:
    before = sources_hash(copied, VARIANT)
    header = copied.source.parent / "numbers.cuh"
    header.write_text(header.read_text() + "\n// changed\n")
    files.cache_clear()

    assert sources_hash(copied, VARIANT) != before


def test_a_changed_macro_changes_the_hash() -> None:
    other = replace(VARIANT, macros={**VARIANT.macros, "SCALE": "0.25f"})

    assert sources_hash(KERNEL, other) != sources_hash(KERNEL, VARIANT)


def test_the_hash_covers_the_source_and_the_headers_it_includes() -> None:
    assert {path.name for path in files(KERNEL.source)} == {"scaled_add.cu", "numbers.cuh"}


def test_the_activations_type_is_a_macro() -> None:
    assert macro_options(VARIANT) == ("-DACTIVATION=float16", "-DBLOCK=128", "-DSCALE=0.5f")


def test_what_does_not_compile_says_so_and_leaves_nothing_in_the_cache(
    copied: Kernel, tmp_path: Path
) -> None:
    copied.source.write_text(copied.source.read_text().replace("SCALE *", "SCALES *"))
    cache = tmp_path / "cache"

    with pytest.raises(CompileFailed, match="SCALES"):
        compile_ptx(copied, VARIANT, "sm_87", cache)

    assert not cache.exists()


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINESIDE_CACHE", str(tmp_path))
    given = default_cache()
    monkeypatch.delenv("LINESIDE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))

    assert given == tmp_path / "ptx"
    assert default_cache() == tmp_path / "home" / "lineside" / "ptx"
