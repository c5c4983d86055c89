"""A camera behind a pipeline: GStreamer's own test pictures where it is installed, and what may go wrong."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.cameras import gstreamer
from lineside.daemon.cameras.base import CameraLost
from lineside.daemon.cameras.gstreamer import GstreamerSource, csi_pipeline, picture_size
from lineside.daemon.cameras.make import make_camera
from lineside.daemon.clock import SystemClock
from lineside.daemon.settings import CsiCamera, GstreamerCamera

CLOCK = SystemClock()
needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="not run: gst-launch-1.0 is not installed"
)


def camera(pipeline: str) -> GstreamerSource:
    made = make_camera(GstreamerCamera(id="cam1", kind="gstreamer", pipeline=pipeline), CLOCK)
    assert isinstance(made, GstreamerSource)
    return made


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a script in the place of gst-launch-1.0."""

    def write(script: str) -> None:
        path = tmp_path / "launcher"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(gstreamer, "LAUNCHER", str(path))

    return write


@needs_gstreamer
def test_pictures_come_in_their_colours_and_order() -> None:
    source = camera("videotestsrc pattern=red is-live=true ! video/x-raw,width=64,height=48,framerate=25/1")
    source.open()
    frames = [source.read() for _ in range(3)]
    source.close()
    source.close()
    assert [frame.index for frame in frames if frame] == [0, 1, 2]
    image = frames[0].image if frames[0] else np.zeros(0)
    assert image.shape == (48, 64, 3)
    blue, green, red = image.reshape(-1, 3).mean(0)
    assert red > 200 > 80 > max(blue, green)


@needs_gstreamer
def test_a_pipeline_that_ends_is_a_lost_camera_and_may_be_opened_again() -> None:
    source = camera("videotestsrc num-buffers=2 ! video/x-raw,width=32,height=32")
    for _ in range(2):
        source.open()
        assert source.read() is not None
        assert source.read() is not None
        with pytest.raises(CameraLost, match="ended"):
            source.read()
    source.close()


@needs_gstreamer
def test_a_pipeline_that_is_none_says_gstreamers_words() -> None:
    with pytest.raises(CameraLost, match=r"ended: .*no element"):
        camera("nosuchsource ! nvvidconv").open()


def test_a_missing_gstreamer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "LAUNCHER", "no-such-launcher")
    with pytest.raises(CameraLost, match=r"apt install gstreamer1\.0-tools"):
        camera("videotestsrc").open()


def test_a_pipeline_that_hangs_is_ended(launcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gstreamer, "OPEN_TIMEOUT_S", 0.3)
    launcher(f"echo $$ > {tmp_path}/pid; trap '' TERM; exec sleep 60")
    with pytest.raises(CameraLost, match="in time"):
        camera("hangs").open()
    until = time.monotonic() + 30
    while (tmp_path / "pid").exists() and time.monotonic() < until:
        try:
            os.kill(int((tmp_path / "pid").read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the pipeline's process lives on")


@pytest.mark.parametrize("script", ["echo hello", "head -c 1000 /dev/zero", "printf 'YUV4MPEG2 W3 H2\\n'"])
def test_what_is_no_picture_is_a_lost_camera(launcher, script: str) -> None:
    launcher(script)
    with pytest.raises(CameraLost):
        camera("x").open()


def test_a_cut_picture_is_a_lost_camera(launcher) -> None:
    launcher("printf 'YUV4MPEG2 W4 H4 C420\\nFRAME\\n1234'")
    source = camera("x")
    source.open()
    with pytest.raises(CameraLost, match="ended"):
        source.read()
    source.close()
    with pytest.raises(CameraLost, match="not open"):
        source.read()


@given(
    header=st.binary(max_size=80) | st.from_regex(rb"YUV4MPEG2 W\d{1,6} H\d{1,6}( C\w{1,6})?", fullmatch=True)
)
def test_any_header_is_a_size_or_a_lost_camera(header: bytes) -> None:
    try:
        width, height = picture_size(header)
    except CameraLost:
        return
    assert (width % 2, height % 2) == (0, 0)
    assert 0 < width * height <= 16384**2


def test_a_csi_sensor_is_asked_for_its_mode() -> None:
    settings = CsiCamera(id="c", kind="csi", sensor=1, width=1280, height=720, fps=60)
    assert csi_pipeline(settings) == (
        "nvarguscamerasrc sensor-id=1 "
        "! 'video/x-raw(memory:NVMM),width=1280,height=720,framerate=60/1' ! nvvidconv"
    )
    assert make_camera(settings, CLOCK).kind == "csi"


def test_passwords_of_a_pipeline_are_not_shown() -> None:
    source = camera("rtspsrc location=rtsp://u:s3cret@h/1 user-pw=hunter2 ! decodebin")
    assert "s3cret" not in source.source
    assert "hunter2" not in source.source
