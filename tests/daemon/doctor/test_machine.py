"""What the kernel shows of a machine, as recorded from real ones, and what the doctor makes of it."""

from __future__ import annotations

import os
import shutil

import pytest
from doctor_clock import SetClock

from lineside.daemon.doctor.base import Level
from lineside.daemon.doctor.checks.clock import ClockCheck
from lineside.daemon.doctor.checks.disk import DiskCheck
from lineside.daemon.doctor.checks.gpu import GpuCheck
from lineside.daemon.doctor.checks.memory import MemoryCheck
from lineside.daemon.doctor.checks.platform import PlatformCheck
from lineside.daemon.doctor.checks.thermal import ThermalCheck


def orin(gpu_milli: int) -> dict[str, str]:
    """The zones of a Jetson Orin; one that is switched off shows nothing."""
    cpu, gpu, off = (f"sys/class/thermal/thermal_zone{n}" for n in range(3))
    return {
        f"{cpu}/type": "cpu-thermal\n",
        f"{cpu}/temp": "48343\n",
        f"{cpu}/trip_point_0_type": "critical\n",
        f"{cpu}/trip_point_0_temp": "104500\n",
        f"{gpu}/type": "gpu-thermal\n",
        f"{gpu}/temp": f"{gpu_milli}\n",
        f"{gpu}/trip_point_0_type": "passive\n",
        f"{gpu}/trip_point_0_temp": "70000\n",
        f"{gpu}/trip_point_1_type": "critical\n",
        f"{gpu}/trip_point_1_temp": "104500\n",
        f"{off}/type": "cv0-thermal\n",
        f"{off}/temp": "-256000\n",
    }


@pytest.mark.parametrize(
    ("milli", "level", "says"),
    [
        (46250, Level.OK, "hottest: cpu-thermal at 48 °C"),
        (70000, Level.WARNING, "gpu-thermal at 70 °C; it gets slower from 70 °C"),
        (100000, Level.FAILED, "it switches off at 104 °C"),
    ],
)
def test_the_hottest_zone_is_held_against_its_own_limits(device, plant, run, milli, level, says):
    plant(orin(milli))

    (finding,) = run(ThermalCheck(), device())

    assert (finding.level, says in finding.message) == (level, True), finding
    assert bool(finding.next_step) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("milli", "level"), [(60000, Level.OK), (86000, Level.WARNING), (97000, Level.FAILED)]
)
def test_a_zone_without_limits_is_held_against_usual_ones(device, plant, run, milli, level):
    zone = "sys/class/thermal/thermal_zone0"
    plant({f"{zone}/type": "x86_pkg_temp", f"{zone}/temp": str(milli)})

    assert [finding.level for finding in run(ThermalCheck(), device())] == [level]


def test_a_machine_without_zones_is_skipped(device, run):
    assert [finding.level for finding in run(ThermalCheck(), device())] == [Level.SKIPPED]


@pytest.mark.parametrize(
    ("available", "level"), [(7_900_000, Level.OK), (900_000, Level.WARNING), (200_000, Level.FAILED)]
)
def test_memory_is_what_the_kernel_would_still_give(device, plant, run, available, level):
    plant({"proc/meminfo": f"MemTotal: 15929660 kB\nMemFree: 99 kB\nMemAvailable: {available} kB\n"})

    assert [finding.level for finding in run(MemoryCheck(), device())] == [level]


def test_no_gpu_is_nothing_to_mend(device, run):
    assert [finding.level for finding in run(GpuCheck(), device())] == [Level.SKIPPED]


@pytest.mark.parametrize(
    ("providers", "level"),
    [
        (("CPUExecutionProvider",), Level.WARNING),
        (("CUDAExecutionProvider", "CPUExecutionProvider"), Level.OK),
    ],
)
def test_a_gpu_wants_a_provider_that_uses_it(device, plant, run, providers, level):
    plant({"dev/nvidia0": ""})

    (finding,) = run(GpuCheck(providers), device())

    assert finding.level is level


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use any device")
def test_a_gpu_that_may_not_be_used_is_said(device, plant, run, root):
    plant({"dev/nvidia0": ""})
    (root / "dev/nvidia0").chmod(0)

    (finding,) = run(GpuCheck(("CUDAExecutionProvider",)), device())

    assert finding.level is Level.FAILED
    assert "video" in finding.next_step


@pytest.mark.parametrize(("synchronised", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_a_clock_that_nothing_sets_is_a_warning(device, run, synchronised, level):
    subject = device(clock=SetClock(synchronised=synchronised))

    assert [finding.level for finding in run(ClockCheck(), subject)] == [level]


def test_the_disk_is_written_and_left_as_it_was(device, run, tmp_path):
    subject = device()
    before = sorted(tmp_path.rglob("*"))

    findings = run(DiskCheck(), subject)

    assert len(findings) == 2
    assert "ms a synced write" in findings[1].message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_without_room_fails(device, run, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=10 * 2**20))

    assert run(DiskCheck(), device())[0].level is Level.FAILED


def test_a_disk_that_cannot_be_written_fails(device, run):
    subject = device()
    object.__setattr__(subject.known.device, "data_dir", "/proc")

    assert run(DiskCheck(), subject)[-1].level is Level.FAILED


def test_this_machine_runs_the_software(device, run):
    (finding,) = run(PlatformCheck(), device())

    assert finding.level in (Level.OK, Level.WARNING)
    assert "Python 3." in finding.message
