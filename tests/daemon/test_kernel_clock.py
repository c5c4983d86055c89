"""The kernel's word on the clock is read as the C library lays it out, without any privilege."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lineside.daemon import kernel_clock

PROGRAM = r"""
#include <stdio.h>
#include <sys/timex.h>
int main(void) {
    struct timex said = {0};
    int state = adjtimex(&said);
    printf("%d %d %ld %zu\n", state, !(said.status & STA_UNSYNC), said.maxerror, sizeof said);
}
"""


def test_it_says_what_a_c_program_reads(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to compare with")
    (tmp_path / "ask.c").write_text(PROGRAM)
    subprocess.run([compiler, "-o", tmp_path / "ask", tmp_path / "ask.c"], check=True)
    said = subprocess.run([tmp_path / "ask"], check=True, capture_output=True, text=True).stdout.split()
    state, synchronised, maximum_error_us, size = map(int, said)
    read = kernel_clock.kernel_clock()
    if state < 0:
        assert read is None
        return
    assert read is not None
    assert read.synchronised == bool(synchronised)
    # The kernel lets the error grow between the two questions, and caps it.
    assert read.maximum_error_s == pytest.approx(maximum_error_us / 1e6, abs=1.0)
    assert size <= kernel_clock.TIMEX_BYTES, "the kernel would write past our buffer"


def test_where_the_kernel_may_not_be_asked_the_time_service_leaves_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_clock, "kernel_clock", lambda: None)
    monkeypatch.setattr(kernel_clock, "TIMESYNCD", tmp_path / "synchronized")
    assert not kernel_clock.synchronised()
    (tmp_path / "synchronized").touch()
    assert kernel_clock.synchronised()
