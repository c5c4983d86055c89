"""The check from end to end on an emulated GPU: every kernel goes through, and a wrong one fails alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from emulated_device import FACTS, EmulatedDevice, spoilt
from scaled_add import KERNEL

from lineside.plugins.check import report, run
from lineside.plugins.check.device import NoDevice
from lineside.plugins.check.run import COMPARED_BYTES, RAGGED_TOKENS, Bench, Checker, Row, cases
from lineside.plugins.operator import Kernel
from lineside.plugins.operators import kernels
from lineside.plugins.ptx.compile import TARGETS, default_cache

pytestmark = pytest.mark.usefixtures("emulation")

BENCH = Bench(facts=FACTS, bytes_s=80e9)


class Machine:
    """Opens emulated devices, and remembers them."""

    def __init__(self) -> None:
        self.opened: list[EmulatedDevice] = []

    def __call__(self) -> EmulatedDevice:
        self.opened.append(EmulatedDevice())
        return self.opened[-1]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def checker(machine: Machine, kept: Path) -> Iterator[Checker]:
    checker = Checker(machine, seed=3, cache=kept)
    yield checker
    checker.close()
    assert all(device.closed for device in machine.opened)


def rows(checker: Checker, *given: Kernel) -> list[Row]:
    return list(checker.rows(given, BENCH))


def test_every_case_of_every_variant_is_compared_and_timed(checker: Checker) -> None:
    found = rows(checker, KERNEL)

    assert [(row.variant, row.case) for row in found] == [
        (variant, case)
        for variant in ("float16", "bfloat16")
        for case in ("T=1 N=100", "T=300 N=33", "T=77 N=100")
    ]
    assert all(row.passed and row.error is not None for row in found)
    assert [row.speed is not None for row in found] == [True, True, False] * 2
    assert {row.target for row in found} == {"sm_87"}


def test_a_device_is_measured_before_its_kernels(checker: Checker) -> None:
    assert checker.bench() == Bench(facts=FACTS, bytes_s=pytest.approx(80e9))


def test_without_times_kernels_are_compared_only(machine: Machine, kept: Path) -> None:
    checker = Checker(machine, seed=3, cache=kept, timed=False)

    assert all(row.speed is None and row.error is not None for row in rows(checker, KERNEL))
    assert machine.opened[0].timed == []


def test_a_kernel_that_takes_the_device_down_fails_alone(
    checker: Checker, machine: Machine, tmp_path: Path
) -> None:
    bad = spoilt(tmp_path, "    __syncthreads();", "    if (i == 1) __trap();")
    bad = replace(bad, sizes=bad.sizes[:1], variants=bad.variants[:1])

    found = rows(checker, bad, KERNEL)

    assert [row.passed for row in found] == [False] * 2 + [True] * 6
    assert len(machine.opened) == 3
    assert [device.closed for device in machine.opened] == [True, True, False]


def test_a_decode_kernel_that_spills_on_this_device_is_wrong(checker: Checker, machine: Machine) -> None:
    machine.opened[0].spent["local"] = 48

    (problem,) = rows(checker, KERNEL)[0].problems
    fine = rows(checker, replace(KERNEL, decode=False))

    assert "48 bytes of registers in memory" in problem
    assert all(row.passed for row in fine)
    assert fine[0].local == 48


def test_a_kernel_that_takes_other_arguments_is_not_launched(checker: Checker, machine: Machine) -> None:
    other = replace(KERNEL, scalars=("count", "more"))

    (row, *_) = rows(checker, other)

    assert "but TensorRT will pass" in row.problems[0]
    assert row.error is None
    assert machine.opened[0].timed == []


def test_cases_too_large_for_the_reference_are_timed_only() -> None:
    huge = {"T": COMPARED_BYTES // 8 + 1, "N": 1}
    kernel = replace(KERNEL, sizes=(huge, {"T": 2, "N": 2}))

    assert list(cases(kernel, kernel.variants[0])) == [
        ({"T": 2, "N": 2}, True),
        (huge, False),
        ({"T": RAGGED_TOKENS, "N": 2}, True),
    ]
    assert next(cases(replace(KERNEL, sizes=(huge,)), kernel.variants[0])) == (huge, True)


@pytest.mark.parametrize(
    ("capability", "target"),
    [((8, 0), "sm_80"), ((8, 7), "sm_87"), ((9, 0), "sm_90"), ((10, 0), "sm_90"), ((12, 1), "sm_120")],
)
def test_a_gpu_gets_the_newest_target_it_takes(capability: tuple[int, int], target: str) -> None:
    assert replace(FACTS, capability=capability).target == target


def test_a_gpu_older_than_all_targets_is_refused() -> None:
    with pytest.raises(NoDevice, match=r"Emulated has compute capability 7\.5; the kernels need 8\.0"):
        _ = replace(FACTS, capability=(7, 5)).target


# -- what is told -------------------------------------------------------------------------------------


def test_the_table_says_what_was_found(checker: Checker, tmp_path: Path) -> None:
    wrong = spoilt(tmp_path, "SCALE * row", "2.0f * SCALE * row")
    found = rows(checker, replace(KERNEL, sizes=KERNEL.sizes[:1]), replace(wrong, sizes=KERNEL.sizes[:1]))
    lines = [line for row in found for line in report.row_lines(row)]

    assert lines[0].startswith("scaled_add")
    assert lines[0].endswith("ok  from cache")
    assert any(line.endswith("WRONG  from cache") for line in lines)
    assert any(line.startswith("    sum is off by ") for line in lines)
    assert report.summary(found) == "8 cases: 8 compared with the reference, 4 timed; 4 WRONG, of scaled_add"


def test_the_device_is_told_with_and_without_tensorrt() -> None:
    lines = report.bench_lines(BENCH, None)

    assert lines[0] == (
        "GPU: Emulated, compute capability 8.7 (kernels for sm_87), 8 multiprocessors, 8.0 GiB, "
        "driver for CUDA 13.0"
    )
    assert lines[1] == "bandwidth: 80 GB/s measured by copying; 100 GB/s by clock and bus width (80%)"
    assert lines[2] == "TensorRT: not installed; the kernels are checked without it"
    assert report.bench_lines(BENCH, "10.16.1")[2] == "TensorRT: 10.16.1"


def test_an_error_without_a_number_is_no_number_for_programs() -> None:
    row = Row(
        kernel="k",
        variant="v",
        case="c",
        decode=True,
        target=TARGETS[0],
        error=float("inf"),
        problems=("never written",),
    )
    found = report.as_object(BENCH, [row], None)

    assert found["passed"] is False
    assert found["rows"][0]["error"] is None
    assert found["rows"][0]["compared"] is True
    assert found["rows"][0]["problems"] == ["never written"]


# -- our own kernels ----------------------------------------------------------------------------------

OURS = list(kernels())
BEARABLE = {"T": 5, "K": 256, "N": 136}


@pytest.mark.parametrize("kernel", OURS, ids=[kernel.name for kernel in OURS])
def test_our_kernels_go_through_the_same_check(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    """One variant of each, at sizes that an emulation can bear; the kernels' own tests try the rest."""
    monkeypatch.setattr(run, "RAGGED_TOKENS", 9)
    smallest, _ = next(cases(kernel, kernel.variants[0]))
    bearable = {name: min(size, BEARABLE.get(name, size)) for name, size in smallest.items()}
    checker = Checker(machine, seed=3, cache=default_cache())
    found = rows(checker, replace(kernel, variants=kernel.variants[:1], sizes=(bearable,)))
    checker.close()

    assert found
    assert all(row.error is not None for row in found)
    assert [row.problems for row in found] == [()] * len(found)
