"""The settings file: what is right is read, what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.secrets import masked_text, masked_url
from lineside.daemon.settings import FileCamera, Settings, StreamCamera, load_settings
from lineside.daemon.yamlfile import MAX_CHARACTERS, BadFile, parse

GOOD = """\
device: {id: box-7, site: ulm, data_dir: data}
cameras:
  - id: cam1
    kind: file
    path: line.avi
  - id: cam2
    kind: stream
    url: rtsp://viewer:s3cret@10.0.0.9/live
stations:
  - id: caps
    camera: cam1
    recipe: recipes/caps.yaml
mqtt:
  brokers: [{host: plant-broker}]
  username: box-7
  password_file: secrets/mqtt
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(BadFile) as refused:
        parse(text, Settings, file="lineside.yaml")
    return [(problem.line, problem.key, problem.message) for problem in refused.value.problems]


def test_paths_are_meant_from_the_files_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "lineside.yaml"
    file.write_text(GOOD)

    settings = load_settings(file)

    assert settings.device.data_dir == tmp_path / "data"
    assert settings.stations[0].recipe == tmp_path / "recipes/caps.yaml"
    camera = settings.camera("cam1")
    assert isinstance(camera, FileCamera)
    assert camera.path == tmp_path / "line.avi"
    assert settings.mqtt is not None
    assert settings.mqtt.password_file == tmp_path / "secrets/mqtt"


def test_what_is_left_out_has_a_default_and_mqtt_is_off() -> None:
    settings = parse(GOOD.partition("mqtt:")[0], Settings, file="lineside.yaml")

    assert settings.mqtt is None
    assert settings.grpc.listen == "127.0.0.1:50051"
    assert settings.engine.bundle is None


@pytest.mark.parametrize(
    ("right", "wrong", "line", "key", "says"),
    [
        ("    path: line.avi", "    pth: line.avi", 5, "cameras[0].pth", "did you mean 'path'?"),
        ("device: {id: box-7", "device: {idd: box-7", 1, "device.idd", "did you mean 'id'?"),
        ("stations:", "statoins:", 9, "statoins", "did you mean 'stations'?"),
        ("    kind: file", "    kind: flie", 4, "cameras[0].kind", "did you mean 'file'?"),
        ("    kind: file\n", "", 3, "cameras[0].kind", "missing"),
        ("    path: line.avi\n", "", 3, "cameras[0].path", "missing"),
        ("camera: cam1", "camera: cam3", 11, "stations[0].camera", "no camera is called 'cam3'"),
        ("id: cam2", "id: cam1", 6, "cameras[1].id", "taken by cameras[0]"),
        ("id: caps", "id: ca/ps", 10, "stations[0].id", "should match"),
        ("{host: plant-broker}", "{host: plant-broker, port: 70000}", 14, "mqtt.brokers[0].port", "65535"),
        ("  username: box-7\n", "", 15, "mqtt.password_file", "needs a username"),
        ("mqtt:", "grpc: {listen: '0.0.0.0:50051'}\nmqtt:", 13, "grpc.listen", "not loopback"),
        ("mqtt:", "grpc: {listen: '127.0.0.1'}\nmqtt:", 13, "grpc.listen", "host:port"),
        ("mqtt:", "metrics: {listen: '0.0.0.0:9464'}\nmqtt:", 13, "metrics.listen", "without TLS"),
        ("mqtt:", "mqtt:\n  tls: {cert_file: a.pem}", 14, "mqtt.tls", "belong together"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_right(
    right: str, wrong: str, line: int, key: str, says: str
) -> None:
    assert right in GOOD

    found = problems(GOOD.replace(right, wrong, 1))

    assert [(line, key)] == [(at, name) for at, name, _ in found]
    assert says in found[0][2]


def test_every_problem_is_told_at_once_in_the_order_of_lines() -> None:
    found = problems(
        GOOD.replace("path: line.avi", "pth: line.avi").replace("port", "x").replace("box-7", "box 7")
    )

    assert [line for line, _, _ in found] == [1, 5]


def test_the_message_reads_as_a_compiler_would_write_it() -> None:
    with pytest.raises(BadFile) as refused:
        parse(GOOD.replace("path: line", "pth: line"), Settings, file="lineside.yaml")

    assert str(refused.value) == "lineside.yaml:5: cameras[0].pth: unknown key; did you mean 'path'?"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("device: [1\nx: 2\n", 2, "not YAML"),
        ("device: {id: a}\ndevice: {id: b}\n", 2, "not YAML"),
        ("device: &a {id: x}\ncameras: *a\n", 2, "alias"),
        ("- 1\n", 1, "dictionary"),
        ("", 1, "dictionary"),
        ("x: 2020-13-45\n", 1, ""),
        ("[" * 5000, 1, "deep"),
        ("- " * 5000, 1, "deep"),
        ("{a: " * 5000, 1, "deep"),
        ("a" * MAX_CHARACTERS, 1, "characters long"),
        ("#" * (MAX_CHARACTERS + 1), 1, "longer than"),
    ],
)
def test_what_is_no_settings_file_is_refused_with_a_line(text: str, line: int, says: str) -> None:
    found = problems(text)

    assert line == found[0][0]
    assert says in found[0][2]


def test_a_missing_file_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        load_settings(tmp_path / "absent.yaml")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_whatsoever_does_more_than_refuse(text: str) -> None:
    with pytest.raises(BadFile) as refused:
        parse(text, Settings, file="any")

    assert all(problem.line >= 1 for problem in refused.value.problems)


def test_a_password_in_a_url_shows_nowhere() -> None:
    settings = parse(GOOD, Settings, file="lineside.yaml")
    camera = settings.camera("cam2")
    assert isinstance(camera, StreamCamera)

    assert "s3cret" not in repr(settings) + str(settings) + str(camera)
    assert camera.url == "rtsp://viewer:s3cret@10.0.0.9/live"


def test_a_password_in_a_wrong_url_shows_nowhere_either() -> None:
    with pytest.raises(BadFile) as refused:
        parse(GOOD.replace("rtsp://viewer", "rtps://viewer"), Settings, file="lineside.yaml")

    assert "s3cret" not in str(refused.value)
    assert "10.0.0.9" in str(refused.value)


@given(
    user=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8),
    password=st.text(
        st.characters(codec="ascii", min_codepoint=33, exclude_characters="'\""), min_size=4, max_size=20
    ),
)
def test_no_password_survives_masking(user: str, password: str) -> None:
    shown = masked_url(f"rtsp://{user}:{password}@camera.local/stream")

    assert shown == "rtsp://***@camera.local/stream"


def test_secrets_in_a_query_are_masked_and_the_rest_stays() -> None:
    assert masked_text("http://cam/video?token=abc123&width=640") == "http://cam/video?token=***&width=640"
