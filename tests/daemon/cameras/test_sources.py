"""Sources of frames: real files, real folders, a real HTTP stream."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.daemon.cameras.base import Camera, CameraLost, DamagedPicture, EndOfSource
from lineside.daemon.cameras.file import FileSource
from lineside.daemon.cameras.folder import FolderSource, pictures_in
from lineside.daemon.cameras.make import make_camera
from lineside.daemon.cameras.pacing import Pacer
from lineside.daemon.cameras.push import CameraBusy, PushSource
from lineside.daemon.cameras.stream import StreamSource
from lineside.daemon.cameras.v4l2 import V4l2Source
from lineside.daemon.clock import SystemClock
from lineside.daemon.settings import FileCamera, FolderCamera, PushCamera, StreamCamera, V4l2Camera
from lineside.daemon.values import Frame, Picture

CLOCK = SystemClock()


def numbered(number: int) -> Picture:
    """A picture whose grey level tells its number, through any compression."""
    return np.full((48, 64, 3), 20 + number * 20, np.uint8)


def number_of(frame: Frame) -> int:
    return round((float(frame.image.mean()) - 20) / 20)


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for number in range(frames):
        writer.write(numbered(number))
    writer.release()


def read_all(camera: Camera, most: int = 200) -> list[Frame]:
    camera.open()
    frames = []
    try:
        for _ in range(most):
            frame = camera.read()
            if frame is not None:
                frames.append(frame)
    except EndOfSource:
        pass
    finally:
        camera.close()
    return frames


def test_a_file_shows_every_frame_in_order_and_then_ends(tmp_path: Path) -> None:
    write_video(tmp_path / "line.avi", 8)
    camera = FileSource(FileCamera(id="cam1", kind="file", path=tmp_path / "line.avi", realtime=False), CLOCK)

    frames = read_all(camera)

    assert [frame.index for frame in frames] == list(range(8))
    assert [number_of(frame) for frame in frames] == list(range(8))
    assert frames[0].camera == "cam1"
    assert camera.lossless


def test_a_file_in_real_time_waits_for_each_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "line.avi", 4)
    waits: list[float] = []
    camera = FileSource(
        FileCamera(id="cam1", kind="file", path=tmp_path / "line.avi"), CLOCK, sleep=waits.append
    )

    frames = read_all(camera)

    assert len(frames) == 4
    assert not camera.lossless
    assert all(0 < wait <= 0.2 for wait in waits)


def test_a_looping_file_counts_on_through_its_rounds(tmp_path: Path) -> None:
    write_video(tmp_path / "line.avi", 3)
    settings = FileCamera(id="cam1", kind="file", path=tmp_path / "line.avi", realtime=False, loop=True)

    frames = read_all(FileSource(settings, CLOCK), most=10)

    assert [number_of(frame) for frame in frames] == [number % 3 for number in range(len(frames))]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 7


def test_opening_again_starts_at_the_first_frame_and_index_0(tmp_path: Path) -> None:
    write_video(tmp_path / "line.avi", 3)
    camera = FileSource(FileCamera(id="cam1", kind="file", path=tmp_path / "line.avi", realtime=False), CLOCK)

    assert [f.index for f in read_all(camera)] == [f.index for f in read_all(camera)] == [0, 1, 2]


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_what_is_no_video_is_lost_with_a_reason(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "line.avi"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CameraLost, match=r"line\.avi"):
        FileSource(FileCamera(id="cam1", kind="file", path=path), CLOCK).open()


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), numbered(number))


def test_a_folder_shows_pictures_as_people_would_number_them(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["part2.png", "part10.png", "Part1.JPG", "part9.bmp"])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "part3.png").mkdir()

    assert [path.name for path in pictures_in(tmp_path)] == [
        "Part1.JPG",
        "part2.png",
        "part9.bmp",
        "part10.png",
    ]


def test_a_folder_shows_each_picture_once_and_then_ends(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"{number}.png" for number in range(12)])
    camera = FolderSource(FolderCamera(id="cam1", kind="folder", path=tmp_path), CLOCK)

    frames = read_all(camera)

    assert [number_of(frame) for frame in frames] == list(range(12))
    assert camera.lossless


def test_a_damaged_picture_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["0.png", "1.png", "2.png"])
    (tmp_path / "1.png").write_bytes(b"\x89PNG, or so it says")
    camera = FolderSource(FolderCamera(id="cam1", kind="folder", path=tmp_path), CLOCK)
    camera.open()

    first = camera.read()
    with pytest.raises(DamagedPicture, match=r"1\.png"):
        camera.read()
    third = camera.read()

    assert first is not None
    assert third is not None
    assert (number_of(first), number_of(third), third.index) == (0, 2, 1)


def test_an_endless_folder_of_damaged_pictures_does_not_spin_for_ever(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    camera = FolderSource(FolderCamera(id="cam1", kind="folder", path=tmp_path, loop=True), CLOCK)
    camera.open()
    with pytest.raises(DamagedPicture):
        camera.read()

    with pytest.raises(CameraLost, match="can be read"):
        camera.read()


def test_a_folder_that_is_missing_or_holds_no_picture_is_lost(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CameraLost):
            FolderSource(FolderCamera(id="cam1", kind="folder", path=path), CLOCK).open()


def test_a_slow_folder_does_not_hold_its_thread(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["0.png", "1.png"])
    waits: list[float] = []
    camera = FolderSource(
        FolderCamera(id="cam1", kind="folder", path=tmp_path, fps=0.01), CLOCK, sleep=waits.append
    )
    camera.open()

    assert camera.read() is not None
    assert camera.read() is None  # the next one is due in over a minute
    assert waits == [0.2]


def test_a_pacer_keeps_the_period_and_forgives_a_long_pause() -> None:
    pacer = Pacer(100)
    waits = []
    for now in (1000, 1040, 1150, 1260, 5_000_000_000, 5_000_000_010):
        waits.append(pacer.wait_ns(now))
        pacer.shown()

    assert waits == [0, 60, 50, 40, 0, 90]


def test_pushed_pictures_come_out_in_order_and_a_full_camera_refuses() -> None:
    camera = PushSource(PushCamera(id="cam1", kind="push", capacity=2), CLOCK)
    camera.push(numbered(1))
    camera.push(numbered(2))
    with pytest.raises(CameraBusy):
        camera.push(numbered(3))

    camera.open()
    frames = [camera.read(), camera.read()]

    assert [(number_of(frame), frame.index) for frame in frames if frame is not None] == [(1, 0), (2, 1)]
    assert camera.read() is None


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_cannot_be_pushed(image: Picture) -> None:
    with pytest.raises(ValueError, match="uint8"):
        PushSource(PushCamera(id="cam1", kind="push"), CLOCK).push(image)


@contextmanager
def mjpeg_server(frames: int) -> Iterator[str]:
    """A camera that sends motion JPEG over HTTP, `frames` pictures a connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for number in range(frames):
                data = cv2.imencode(".jpg", numbered(number % 12))[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="mjpeg", daemon=True)
    thread.start()
    try:
        yield f"http://viewer:s3cret@127.0.0.1:{server.server_address[1]}/video.mjpg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read_on(camera: Camera) -> None:
    for _ in range(50):
        camera.read()


def test_a_stream_over_http_gives_its_frames_and_is_lost_when_it_ends() -> None:
    with mjpeg_server(12) as url:
        camera = StreamSource(StreamCamera(id="cam1", kind="stream", url=url), CLOCK)
        camera.open()
        numbers, indices = [], []
        for _ in range(8):
            frame = camera.read()
            assert frame is not None
            numbers.append(number_of(frame))
            indices.append(frame.index)
        with pytest.raises(CameraLost, match="stopped sending") as lost:
            read_on(camera)
        camera.close()

    # With no buffer, FFmpeg may let the pictures go by which it found the format with.
    assert numbers == list(range(numbers[0], numbers[0] + 8))
    assert indices == list(range(8))
    assert "s3cret" not in str(lost.value) + camera.source


def test_a_stream_that_nobody_sends_is_lost_and_the_password_is_not_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    camera = StreamSource(
        StreamCamera(id="c", kind="stream", url=f"http://u:s3cret@127.0.0.1:{port}/v"), CLOCK
    )

    with pytest.raises(CameraLost) as lost:
        camera.open()

    assert "s3cret" not in str(lost.value)


def test_a_device_that_is_not_there_is_lost() -> None:
    with pytest.raises(CameraLost, match="plugged in"):
        V4l2Source(V4l2Camera(id="cam1", kind="v4l2", device="/dev/video-none"), CLOCK).open()


def test_every_kind_of_settings_makes_its_camera_without_opening_it(tmp_path: Path) -> None:
    made = [
        make_camera(FileCamera(id="a", kind="file", path=tmp_path / "absent"), CLOCK),
        make_camera(FolderCamera(id="b", kind="folder", path=tmp_path / "absent"), CLOCK),
        make_camera(StreamCamera(id="c", kind="stream", url="rtsp://nowhere/x"), CLOCK),
        make_camera(V4l2Camera(id="d", kind="v4l2", device="/dev/video-none"), CLOCK),
        make_camera(PushCamera(id="e", kind="push"), CLOCK),
    ]

    assert [camera.kind for camera in made] == ["file", "folder", "stream", "v4l2", "push"]
    for camera in made:
        camera.close()
