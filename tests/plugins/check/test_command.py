"""`python -m lineside.plugins`: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from emulated_device import EmulatedDevice, spoilt
from scaled_add import KERNEL

from lineside.plugins import operators
from lineside.plugins.__main__ import main
from lineside.plugins.check import command
from lineside.plugins.check.device import DeviceFault, NoDevice
from lineside.plugins.operator import Kernel, Operator
from lineside.plugins.ptx import command as ptx_command
from lineside.plugins.ptx import compile as compile_module
from lineside.plugins.ptx import page, table
from lineside.plugins.ptx.compile import TARGETS
from lineside.plugins.ptx.nvrtc import NvrtcMissing
from lineside.plugins.ptx.sass import find_ptxas

SMALL = replace(KERNEL, sizes=KERNEL.sizes[:1])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(autouse=True)
def _only_the_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, emulation: None) -> None:
    monkeypatch.setenv("LINESIDE_CACHE", str(tmp_path / "cache"))
    use(monkeypatch, SMALL)


def use(monkeypatch: pytest.MonkeyPatch, *kernels: Kernel) -> None:
    """Makes `kernels` all there are."""
    monkeypatch.setattr(operators, "OPERATORS", (Operator(name="sample", kernels=kernels),))


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_driver", lambda ordinal: EmulatedDevice())


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(ordinal: int) -> EmulatedDevice:
        raise NoDevice("no NVIDIA driver here")

    monkeypatch.setattr(command, "open_driver", refuse)


# -- check --------------------------------------------------------------------------------------------


def test_a_gpu_with_right_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch)

    said = run("check")

    assert said.exit_code == 0, said.output
    assert "GPU: Emulated" in said.output
    assert said.output.endswith("\n4 cases: 4 compared with the reference, 2 timed; all are right\n")


def test_a_gpu_with_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_gpu(monkeypatch)
    use(monkeypatch, replace(spoilt(tmp_path, "SCALE * row", "-row"), sizes=SMALL.sizes))

    said = run("check", "--no-times")

    assert said.exit_code == 1
    assert "WRONG" in said.output


def test_everything_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch)

    said = run("check", "--json", "--kernel", "scaled_add")

    found = json.loads(said.output)
    assert (found["settled"], found["passed"]) == (True, True)
    assert found["device"]["target"] == "sm_87"
    assert found["device"]["measured_bytes_s"] == pytest.approx(80e9)
    assert {row["kernel"] for row in found["rows"]} == {"scaled_add"}
    assert found["rows"][0]["fraction_of_floor"] > 0


def test_without_a_gpu_all_is_compiled_and_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)

    said = run("check")

    assert said.exit_code == 3
    assert f"compiled {2 * len(TARGETS)} times" in said.output
    assert "Not settled: no NVIDIA driver here." in said.output
    assert len(list(compile_module.default_cache().iterdir())) == 2 * len(TARGETS)


def test_without_a_gpu_a_kernel_that_takes_other_arguments_is_wrong_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_gpu(monkeypatch)
    use(monkeypatch, replace(SMALL, scalars=()))

    said = run("check", "--json")

    assert said.exit_code == 1
    found = json.loads(said.output)
    assert found["settled"] is False
    assert len(found["problems"]) == 2 * len(TARGETS)


def test_without_a_gpu_a_kernel_that_does_not_compile_is_wrong_already(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_gpu(monkeypatch)
    use(monkeypatch, spoilt(tmp_path, "SCALE * row", "SCALE row"))

    said = run("check")

    assert said.exit_code == 1
    assert "scaled_add.cu" in said.output


def test_with_nothing_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NvrtcMissing("no NVRTC here")

    monkeypatch.setattr(compile_module, "nvrtc", missing)

    without_gpu(monkeypatch)
    assert run("check").exit_code == 4
    on_gpu(monkeypatch)
    said = run("check", "--json")
    assert said.exit_code == 4
    assert json.loads(said.output)["why"] == "no NVRTC here"


def test_a_gpu_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(ordinal: int) -> EmulatedDevice:
        raise DeviceFault("cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(command, "open_driver", refuse)

    said = run("check")

    assert said.exit_code == 1
    assert "the GPU cannot be opened: cuDevicePrimaryCtxRetain" in said.output


def test_a_kernel_there_is_not() -> None:
    said = run("check", "--kernel", "scaled_sub")

    assert said.exit_code == 2
    assert "there is no kernel 'scaled_sub'; there are: scaled_add" in said.output


def test_the_command_as_a_program() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "lineside.plugins", "--help"], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0
    assert {"check", "table", "ptx"} <= set(said.stdout.split())


# -- table and ptx ------------------------------------------------------------------------------------


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A table and a page of the test's own."""
    monkeypatch.setattr(table, "RECORDED", tmp_path / "table.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "kernels.md")
    (tmp_path / "kernels.md").write_text(f"{page.BEGIN}\n{page.END}\n")
    return tmp_path


def needs_ptxas() -> None:
    if find_ptxas() is None:
        pytest.skip("no ptxas here (it comes with nvcc): the table is not made anew")


def test_a_table_is_renewed_and_then_found_to_be_right(papers: Path) -> None:
    needs_ptxas()

    made, checked = run("table"), run("table", "--check")

    assert (made.exit_code, checked.exit_code) == (0, 0), made.output + checked.output
    assert "14 rows written" in made.output
    assert "14 rows, assembled anew: all as recorded" in checked.output
    assert "`scaled_add`" in (papers / "kernels.md").read_text()


def test_a_table_of_other_sources_is_stale_and_the_command_that_renews_it_is_not_far(
    papers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs_ptxas()
    run("table")
    use(monkeypatch, spoilt(tmp_path, "SCALE * row", "2 * row"))

    said = run("table", "--check")

    assert said.exit_code == 1
    assert said.output.count("changed since the table was made") == 2 * len(TARGETS)


def test_without_an_assembler_the_ptx_is_compared(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_ptxas()
    run("table")
    monkeypatch.setattr(ptx_command, "find_ptxas", lambda: None)

    assert "no ptxas here to assemble them anew" in run("table", "--check").output
    renewing = run("table")
    assert renewing.exit_code == 4
    assert "run python -m lineside.plugins table where it is" in renewing.output


def test_a_changed_number_in_the_table_is_found(papers: Path) -> None:
    needs_ptxas()
    run("table")
    recorded = (papers / "table.json").read_text()
    (papers / "table.json").write_text(recorded.replace('"registers": 10,', '"registers": 11,', 1))
    (papers / "kernels.md").write_text((papers / "kernels.md").read_text().replace("| 10 |", "| 11 |", 1))

    said = run("table", "--check")

    assert said.exit_code == 1
    assert "not as recorded" in said.output


def test_a_page_without_the_table_is_found_and_a_page_without_marks_stops_renewing(papers: Path) -> None:
    needs_ptxas()
    run("table")
    recorded = (papers / "table.json").read_text()
    (papers / "kernels.md").write_text(f"{page.BEGIN}\nold\n{page.END}\n")
    outdated = run("table", "--check")
    (papers / "kernels.md").write_text("nothing")
    (papers / "table.json").write_text("{}")

    refused = run("table")

    assert "kernels.md does not show the table" in outdated.output
    assert refused.exit_code == 1
    assert "has no lines" in refused.output
    assert (papers / "table.json").read_text() == "{}" != recorded


def test_a_kernels_ptx_is_printed(papers: Path) -> None:
    said = run("ptx", "scaled_add", "--sm", "87", "--variant", "bfloat16")

    assert said.exit_code == 0
    assert ".target sm_87" in said.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scaled_add", "--sm", "75"), "--sm 75: one of 80, 86, 87, 89, 90, 110, 120"),
        (("other", "--sm", "87"), "there is no kernel 'other'"),
        (("scaled_add", "--sm", "87", "--variant", "float64"), "no variant 'float64'"),
    ],
)
def test_what_there_is_not_is_told(arguments: tuple[str, ...], said: str) -> None:
    refused = run("ptx", *arguments)

    assert refused.exit_code == 2
    assert said in refused.output
