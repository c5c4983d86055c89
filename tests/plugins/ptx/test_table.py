"""The table of what kernels spend: made by the assembler, kept, and not believed when sources change."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaled_add import BLOCK, KERNEL

from lineside.plugins.operator import Kernel, Launch
from lineside.plugins.operators import kernels
from lineside.plugins.ptx.compile import TARGETS, compile_ptx, default_cache
from lineside.plugins.ptx.nvrtc import NvrtcMissing, nvrtc, wheel_folders
from lineside.plugins.ptx.page import NoPage, read_page, render, write_page
from lineside.plugins.ptx.sass import AssemblyFailed, Usage, assemble, find_ptxas, read_usage
from lineside.plugins.ptx.sources import sources_hash
from lineside.plugins.ptx.table import (
    RENEW,
    BadTable,
    Row,
    Table,
    as_text,
    broken_contracts,
    broken_rules,
    compile_all,
    make,
    read_table,
    stale,
    write_table,
)

SAID = """\
ptxas info    : Compiling entry function 'k' for 'sm_87'
ptxas info    : Function properties for k
    16 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 512 bytes smem, 360 bytes cmem[0]
"""
BY_HAND = Usage(registers=32, shared=0, stack=0, spill_stores=0, spill_loads=0)


def table_of(kernel: Kernel, usage: Usage = BY_HAND, dynamic_shared: int = 4 * BLOCK) -> Table:
    rows = tuple(
        Row(
            kernel=kernel.name,
            variant=variant.name,
            target=target,
            sources=sources_hash(kernel, variant),
            ptx="0123456789abcdef",
            dynamic_shared=dynamic_shared,
            usage=usage,
        )
        for variant in kernel.variants
        for target in TARGETS
    )
    return Table(assembler="13.0.88", rows=rows)


def _needs_nvrtc() -> None:
    try:
        nvrtc()
    except NvrtcMissing as missing:
        pytest.skip(str(missing))


def _ptxas() -> Path:
    _needs_nvrtc()
    ptxas = find_ptxas()
    if ptxas is None:
        pytest.skip("no ptxas here (it comes with nvcc): what kernels spend is not measured anew")
    return ptxas


# -- the recorded table ----------------------------------------------------------------------------


def test_the_recorded_table_is_of_the_kernels_as_they_are() -> None:
    outdated = stale(read_table(), list(kernels()))

    assert outdated == [], f"renew the table: {RENEW}"


def test_no_recorded_kernel_breaks_the_rules() -> None:
    assert broken_rules(read_table(), list(kernels())) == []


# A hundred compilations where nothing is cached yet: a busy machine takes its time.
@pytest.mark.timeout(900)
def test_our_kernels_compile_to_what_tensorrt_will_launch_and_the_table_is_of() -> None:
    """Every variant for Orin, one of each kernel for the newest chip; `table --check` goes through all."""
    _needs_nvrtc()
    ours = list(kernels())
    one_each = [replace(kernel, variants=kernel.variants[:1]) for kernel in ours]
    compiled = [
        *compile_all(ours, ("sm_87",), default_cache()),
        *compile_all(one_each, ("sm_120",), default_cache()),
    ]

    assert broken_contracts(compiled) == []
    if any((folder / "lib").glob("libnvrtc.so.*") for folder in wheel_folders()):
        assert broken_contracts(compiled, read_table()) == [], f"renew the table: {RENEW}"


def test_the_page_shows_the_recorded_table() -> None:
    assert read_page() == render(read_table(), list(kernels())), f"renew the page: {RENEW}"


def test_the_recorded_file_is_written_as_it_is_read() -> None:
    table = read_table()

    assert json.loads(as_text(table)) == json.loads(as_text(read_table()))


# -- staleness and rules ---------------------------------------------------------------------------


def test_a_table_of_these_sources_is_not_stale() -> None:
    assert stale(table_of(KERNEL), [KERNEL]) == []


def test_changed_missing_and_left_over_rows_are_stale() -> None:
    table = table_of(KERNEL)
    changed = replace(table.rows[0], sources="f" * 16)
    left_over = replace(table.rows[1], variant="float64")
    outdated = stale(replace(table, rows=(changed, left_over, *table.rows[2:])), [KERNEL])

    assert outdated == [
        "scaled_add (float16) on sm_80: changed since the table was made",
        "scaled_add (float16) on sm_86: not in the table",
        "scaled_add (float64) on sm_86: in the table, but there is no such kernel",
    ]


def test_another_launch_makes_the_table_stale() -> None:
    def launch(*arguments: object) -> Launch:
        return replace(KERNEL.launch(*arguments), shared_bytes=4096)  # type: ignore[arg-type]

    assert len(stale(table_of(KERNEL), [replace(KERNEL, launch=launch)])) == 2 * len(TARGETS)


def test_a_decode_kernel_may_not_spill_and_another_may() -> None:
    table = table_of(KERNEL, replace(BY_HAND, spill_stores=8, spill_loads=4))

    assert len(broken_rules(table, [KERNEL])) == len(table.rows)
    assert "spills 12 bytes" in broken_rules(table, [KERNEL])[0]
    assert broken_rules(table, [replace(KERNEL, decode=False)]) == []


def test_static_and_dynamic_shared_memory_are_counted_together() -> None:
    at_most = replace(BY_HAND, shared=47 * 1024)

    assert broken_rules(table_of(KERNEL, at_most, 1024), [KERNEL]) == []
    assert "49153 bytes" in broken_rules(table_of(KERNEL, at_most, 1025), [KERNEL])[0]


# -- made here -------------------------------------------------------------------------------------


def test_a_table_is_made_kept_and_read_back(tmp_path: Path) -> None:
    table = make([KERNEL], _ptxas(), tmp_path / "cache")
    write_table(table, tmp_path / "table.json")

    assert read_table(tmp_path / "table.json") == table
    assert {row.key for row in table.rows} == {
        ("scaled_add", variant.name, target) for variant in KERNEL.variants for target in TARGETS
    }
    assert stale(table, [KERNEL]) == []
    assert broken_rules(table, [KERNEL]) == []
    assert all(0 < row.usage.registers < 64 for row in table.rows)


def test_only_what_changed_is_assembled_anew(tmp_path: Path) -> None:
    ptxas = _ptxas()
    recorded = make([KERNEL], ptxas, None)
    known = replace(recorded, rows=tuple(replace(row, ptx="kept") for row in recorded.rows))
    changed = replace(KERNEL.variants[1], macros={**KERNEL.variants[1].macros, "SCALE": "0.25f"})

    again = make([replace(KERNEL, variants=(KERNEL.variants[0], changed))], ptxas, None, known)
    other = make([KERNEL], ptxas, None, replace(known, assembler="12.8"))

    half = len(TARGETS)
    assert again.rows[:half] == known.rows[:half]
    assert all(row.ptx != "kept" for row in again.rows[half:])
    assert other == recorded


def test_what_the_assembler_refuses_is_told() -> None:
    compiled = compile_ptx(KERNEL, KERNEL.variants[0], "sm_87", None)
    spoiled = replace(compiled, ptx=compiled.ptx.replace("bar.sync", "bar.nothing"))

    with pytest.raises(AssemblyFailed, match=r"(?s)scaled_add \(float16\) for sm_87:.*bar"):
        assemble(_ptxas(), spoiled)


def test_a_kernel_that_spills_is_seen_to_spill(tmp_path: Path) -> None:
    source = tmp_path / "scaled_add.cu"
    limit = "__maxnreg__(24) "
    adds = "".join(f"float x{n} = b[i + {n}]; " for n in range(64))
    spoilt = KERNEL.source.read_text().replace(
        'extern "C" __global__ void ', f'extern "C" __global__ void {limit}'
    )
    spoilt = spoilt.replace("__syncthreads();", adds + "__syncthreads();")
    total = "".join(f" + x{n} * x{63 - n}" for n in range(64))
    source.write_text(spoilt.replace("SCALE * row[threadIdx.x]", f"SCALE * (row[threadIdx.x]{total})"))
    compiled = compile_ptx(replace(KERNEL, source=source), KERNEL.variants[0], "sm_87", None)

    usage = assemble(_ptxas(), compiled)

    assert usage.spill_stores > 0
    assert usage.spill_loads > 0


def test_the_assemblers_words_are_read() -> None:
    assert read_usage(SAID, "k") == Usage(registers=40, shared=512, stack=16, spill_stores=24, spill_loads=28)


def test_words_without_numbers_are_refused() -> None:
    with pytest.raises(AssemblyFailed, match="said nothing of registers"):
        read_usage("ptxas info    : 0 bytes gmem", "k")


def test_all_is_compiled_and_keeps_the_contract(tmp_path: Path) -> None:
    _needs_nvrtc()
    compiled = list(compile_all([KERNEL], ("sm_87", "sm_120"), tmp_path))

    assert [(one.variant.name, one.target) for one in compiled] == [
        ("float16", "sm_87"),
        ("float16", "sm_120"),
        ("bfloat16", "sm_87"),
        ("bfloat16", "sm_120"),
    ]
    assert broken_contracts(compiled) == []


def test_ptx_that_breaks_the_contract_or_is_not_the_tables_is_told() -> None:
    _needs_nvrtc()
    compiled = compile_ptx(KERNEL, KERNEL.variants[0], "sm_87", None)
    other = replace(compiled, kernel=replace(KERNEL, scalars=()))

    (breach,) = broken_contracts([other])
    (not_this,) = broken_contracts([compiled], table_of(KERNEL))

    assert "but TensorRT will pass (pointer, pointer, pointer)" in breach
    assert not_this == "scaled_add (float16) on sm_87: compiles to other PTX than the table was made from"


# -- files -----------------------------------------------------------------------------------------


USAGES = st.builds(
    Usage,
    **dict.fromkeys(("registers", "shared", "stack", "spill_stores", "spill_loads"), st.integers(0, 2**20)),
)


@given(st.dictionaries(st.tuples(st.sampled_from(["a", "b c"]), st.sampled_from(TARGETS)), USAGES))
def test_what_is_written_is_read(usages: dict[tuple[str, str], Usage]) -> None:
    rows = tuple(
        Row(
            kernel="k",
            variant=variant,
            target=target,
            sources="s",
            ptx="p",
            dynamic_shared=7,
            usage=usage,
        )
        for (variant, target), usage in sorted(usages.items())
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        write_table(Table(assembler="13", rows=rows), path)

        assert read_table(path) == Table(assembler="13", rows=rows)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"assembler": "1", "kernels": {"k": {"v": {"targets": 1}}}}']
)
def test_a_damaged_table_is_refused_with_what_renews_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "table.json").write_text(text)

    with pytest.raises(BadTable, match=RENEW):
        read_table(tmp_path / "table.json")


def test_the_pages_table_shows_spills_and_shared_memory() -> None:
    spilt = table_of(KERNEL, replace(BY_HAND, spill_stores=8, shared=512))

    assert render(spilt, [KERNEL]).splitlines()[-1] == (
        "| `scaled_add` | bfloat16 | each token | 1.0 KiB | " + " | ".join(["32+8 B"] * len(TARGETS)) + " |"
    )


def test_the_page_is_changed_between_its_marks_only(tmp_path: Path) -> None:
    page = tmp_path / "kernels.md"
    page.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")

    write_page("new", page)

    assert page.read_text() == "before\n<!-- table: begin -->\nnew\n<!-- table: end -->\nafter\n"
    assert read_page(page) == "new"


@pytest.mark.parametrize("text", [None, "no marks", "<!-- table: begin -->"])
def test_a_page_that_is_not_there_or_lost_its_marks_is_refused(tmp_path: Path, text: str | None) -> None:
    page = tmp_path / "kernels.md"
    if text is not None:
        page.write_text(text)

    with pytest.raises(NoPage, match=r"kernels\.md"):
        write_page("new", page)
