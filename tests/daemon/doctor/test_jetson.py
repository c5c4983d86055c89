"""What the doctor makes of a Jetson's files, which are written from documentation (see `l4t_trees.py`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from l4t_trees import AGX_ORIN, ORIN_NANO_MODES, THOR, jetson

from lineside.daemon.doctor import l4t
from lineside.daemon.doctor.base import Level
from lineside.daemon.doctor.checks import jetson as checks
from lineside.daemon.doctor.checks.jetson import JetsonCheck


def findings(device, plant, run, **changes):
    plant(jetson(**changes))
    return run(JetsonCheck(), device())


@pytest.fixture(autouse=True)
def has_tensorrt(monkeypatch):
    """As on a Jetson whose packages Python sees."""
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: object())


def test_a_sound_box_needs_nothing(device, plant, run):
    found = findings(device, plant, run)

    assert {one.level for one in found} == {Level.OK}
    assert "Orin Nano" in found[0].message
    assert "R39.2.0 (JetPack 7.2)" in found[0].message
    assert "VDD_IN 6.0 W, VDD_CPU_GPU_CV 1.5 W" in found[2].message


def test_anything_else_is_no_jetson(device, run):
    assert [one.level for one in run(JetsonCheck(), device())] == [Level.SKIPPED]


@pytest.mark.parametrize(("jetpack", "says"), [("6.2", "TensorRT 10.3 has neither"), ("7.1", "too old")])
def test_an_old_jetpack_is_said_with_what_it_lacks(device, plant, run, jetpack, says):
    release = findings(device, plant, run, jetpack=jetpack)[0]

    assert (release.level, says in release.message) == (Level.WARNING, True)
    assert "JetPack 7.2" in release.next_step


def test_a_python_that_sees_no_tensorrt_is_said(device, plant, run, monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)

    release = findings(device, plant, run, board=THOR)[0]

    assert (release.level, "system-site-packages" in release.next_step) == (Level.WARNING, True)


def test_a_power_mode_that_did_not_hold_is_said(device, plant, run):
    mode = findings(device, plant, run, mode=0, gpu_hz=1_020_000_000)[1]

    assert mode.level is Level.WARNING
    assert "15W is set and not applied: the graphics clock goes up to 1020 MHz, not 612" in mode.message
    assert "nvpmodel -m 0" in mode.next_step


def test_a_faster_mode_is_named(device, plant, run):
    mode = findings(device, plant, run, mode=0, gpu_hz=612_000_000)[1]

    assert (mode.level, "MAXN_SUPER would be faster" in mode.message) == (Level.OK, True)
    assert "nvpmodel -m 2" in mode.next_step


def test_the_fastest_mode_is_left_alone(device, plant, run):
    mode = findings(device, plant, run, mode=2, gpu_hz=1_020_000_000)[1]

    assert (mode.level, mode.next_step) == (Level.OK, "")


@pytest.mark.parametrize("mode", [9, None])
def test_a_mode_that_nobody_knows_is_said(device, plant, run, root, mode):
    plant(jetson(mode=9))
    if mode is None:
        (root / "var/lib/nvpmodel/status").unlink()

    assert run(JetsonCheck(), device())[1].level is Level.WARNING


def test_too_much_current_fails_and_past_events_warn(device, plant, run):
    found = findings(device, plant, run, alarm=True, events=3, board=AGX_ORIN)

    assert [one.level for one in found[2:4]] == [Level.FAILED, Level.WARNING]
    assert "VDD_IN is beyond its limit" in found[2].message
    assert "3 over-current events" in found[3].message


def test_a_missing_decoder_is_said(device, plant, run, root):
    plant(jetson())
    (root / "dev/v4l2-nvdec").unlink()

    assert run(JetsonCheck(), device())[-1].level is Level.WARNING


def test_modes_are_read_with_their_clocks_and_cores(plant, root):
    plant({"etc/nvpmodel.conf": ORIN_NANO_MODES})

    modes = {mode.name: mode for mode in l4t.power_modes(root)}

    assert list(modes) == ["15W", "25W", "MAXN_SUPER", "7W"]
    assert (modes["15W"].gpu_hz, modes["15W"].memory_hz) == (612_000_000, 2_133_000_000)
    assert (modes["MAXN_SUPER"].gpu_hz, modes["MAXN_SUPER"].memory_hz) == (None, None)
    assert (modes["7W"].cores, modes["7W"].gates) == (2, "252")


@given(text=st.text(alphabet="<> POWER_MODELIDNAME=0123456789GPUMAX_FREQ\n-", max_size=200))
def test_any_file_of_modes_can_be_read(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("root")
    (root / "etc").mkdir()
    (root / "etc/nvpmodel.conf").write_text(text)

    assert all(mode.number >= 0 for mode in l4t.power_modes(root))
