"""The one settings file, `lineside.yaml`, as a frozen tree.

Secrets are named by file, never written here; paths are relative to the file they stand in.
Knows nothing of what is built from it.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lineside.daemon.outputs.options import OutputSettings
from lineside.daemon.reporting.settings import MqttSettings
from lineside.daemon.secrets import masked_url
from lineside.daemon.triggers.options import TriggerOptions
from lineside.daemon.yamlfile import FilePath, KeyPath, Strict, located, nearest, read_file

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Safe as a part of topics, file names and URLs."""


class DeviceSettings(Strict):
    """Who this box is and where it stands (ISA-95)."""

    id: Name = Field(description="stable name of this device, unique in the fleet")
    enterprise: Name = Field(default="enterprise", description="the company, above the site")
    site: Name = Field(default="site", description="the plant")
    area: Name = Field(default="area", description="the part of the plant")
    line: Name = Field(default="line", description="the production line")
    data_dir: FilePath = Field(description="folder for results, evidence and installed recipes")


class EngineSettings(Strict):
    """Which engine judges, and how long it may take to start and to answer."""

    bundle: FilePath | None = Field(
        default=None, description="engine bundle, a folder or `.lsengine` file; null: the demo engine"
    )
    runtime: Literal[
        "auto", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt-rtx", "tensorrt", "tensorrt-rtx"
    ] = Field(default="auto", description="what runs the graphs")
    threads: int = Field(
        default=0, ge=0, le=256, description="CPU threads of the engine; 0: as many as there are cores"
    )
    look_ahead: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="look at the next question's picture while one is answered; auto: where a core is idle",
    )
    trust: FilePath | None = Field(
        default=Path("trust"),
        validate_default=True,
        description="folder of public keys (`*.pub`); once it is there, engines must be signed by one of "
        "them; null: no signature is asked for",
    )
    require_signature: bool | None = Field(
        default=None, description="null: as soon as there is a trust folder; false: what is unsigned is taken"
    )
    start_timeout_s: float = Field(
        default=120.0, gt=0, description="longer than this to load is a failed start"
    )
    answer_timeout_s: float = Field(default=10.0, gt=0, description="longer than this to answer is a hang")


class _Camera(Strict):
    id: Name = Field(description="name of the camera, unique on the device")


class FileCamera(_Camera):
    """A video file."""

    kind: Literal["file"]
    path: FilePath = Field(description="the video")
    loop: bool = Field(default=False, description="start again at the end")
    realtime: bool = Field(
        default=True,
        description="play at the file's own speed, as a live camera; false: every frame, as fast as judged",
    )


class FolderCamera(_Camera):
    """Pictures in a folder, in the order of their names."""

    kind: Literal["folder"]
    path: FilePath = Field(description="the folder")
    fps: float | None = Field(
        default=None, gt=0, le=1000, description="pictures a second; null: every one, as fast as it is judged"
    )
    loop: bool = Field(default=False, description="start again at the end")


class StreamCamera(_Camera):
    """An RTSP or HTTP stream."""

    kind: Literal["stream"]
    url: str = Field(
        pattern=r"^(rtsps?|https?|udp|tcp|rtmp)://",
        repr=False,
        description="address of the stream; a password in it is never shown",
    )
    transport: Literal["tcp", "udp"] = Field(default="tcp", description="how RTSP carries the picture")
    frozen_after_s: float | None = Field(
        default=10.0, gt=0, description="identical pictures for so long are a frozen camera; null: never"
    )

    def __str__(self) -> str:
        return f"StreamCamera {self.id} {masked_url(self.url)}"


class V4l2Camera(_Camera):
    """A USB or CSI camera of Linux."""

    kind: Literal["v4l2"]
    device: str = Field(default="/dev/video0", pattern=r"^/dev/", description="the device node")
    width: int = Field(default=1280, ge=16, le=16384, description="pixels")
    height: int = Field(default=720, ge=16, le=16384, description="pixels")
    fps: float = Field(default=30.0, gt=0, le=1000, description="pictures a second asked of the camera")
    frozen_after_s: float | None = Field(
        default=10.0, gt=0, description="identical pictures for so long are a frozen camera; null: never"
    )


class CsiCamera(_Camera):
    """A sensor on a Jetson's camera connector, through its image processor (GStreamer, Argus)."""

    kind: Literal["csi"]
    sensor: int = Field(default=0, ge=0, le=15, description="which connector, as `sensor-id` counts them")
    width: int = Field(default=1920, ge=16, le=16384, multiple_of=2, description="pixels, of a mode it has")
    height: int = Field(default=1080, ge=16, le=16384, multiple_of=2, description="pixels")
    fps: int = Field(default=30, gt=0, le=1000, description="pictures a second asked of the sensor")
    frozen_after_s: float | None = Field(
        default=10.0, gt=0, description="identical pictures for so long are a frozen camera; null: never"
    )


class GstreamerCamera(_Camera):
    """A GStreamer pipeline, for streams that a chip should decode, and whatever else GStreamer reads."""

    kind: Literal["gstreamer"]
    pipeline: str = Field(
        min_length=1,
        repr=False,
        description="elements as for gst-launch-1.0, up to raw video; other users of the box can read them",
    )
    frozen_after_s: float | None = Field(
        default=10.0, gt=0, description="identical pictures for so long are a frozen camera; null: never"
    )


class PushCamera(_Camera):
    """Pictures handed in from outside, over gRPC."""

    kind: Literal["push"]
    capacity: int = Field(default=8, ge=1, le=256, description="pictures that may wait; more are refused")


CameraSettings = Annotated[
    FileCamera | FolderCamera | StreamCamera | V4l2Camera | CsiCamera | GstreamerCamera | PushCamera,
    Field(discriminator="kind"),
]


class StationSettings(Strict):
    """One inspection position: a camera and the recipe that judges its parts."""

    id: Name = Field(description="name of the station, what PLC and MES address")
    camera: Name = Field(description="the camera that looks at it")
    recipe: FilePath = Field(description="recipe file")
    trigger: TriggerOptions | None = Field(default=None, description="instead of the recipe's own trigger")


class GrpcTlsSettings(Strict):
    """Mutual TLS of the gRPC server: all three files, or none for those that `lineside enroll` brings."""

    certificate: FilePath | None = Field(
        default=None, description="this device's certificate chain; null: that of `lineside enroll`"
    )
    key: FilePath | None = Field(default=None, description="its private key, mode 0600")
    client_ca: FilePath | None = Field(
        default=None, description="the authority whose certificates let clients in"
    )

    @model_validator(mode="after")
    def _all_or_none(self) -> GrpcTlsSettings:
        if len({self.certificate is None, self.key is None, self.client_ca is None}) > 1:
            raise located([((), "certificate, key and client_ca belong together: name all three or none")])
        return self


class GrpcSettings(Strict):
    """The gRPC server."""

    listen: str = Field(
        default="127.0.0.1:50051",
        description="`host:port`, port 0 for any free one; without `tls` on loopback only",
    )
    tls: GrpcTlsSettings | None = Field(
        default=None, description="mutual TLS; `{}` takes what `lineside enroll` brought; null: plaintext"
    )
    local_listen: str | None = Field(
        default=None,
        description="with `tls`: a second, plaintext address on loopback, or `unix:/path`; null: none",
    )
    local_role: Literal["viewer", "operator", "engineer", "admin"] = Field(
        default="engineer", description="what a process of this machine may do without a certificate"
    )
    calls_per_s: float = Field(
        default=200.0, ge=1, le=100_000, description="calls a second of one client; more are refused"
    )

    @model_validator(mode="after")
    def _plaintext_stays_here(self) -> GrpcSettings:
        if self.tls is None:
            step = "give `tls` (`lineside enroll` brings certificates; then `tls: {}`)"
            _refuse_beyond_this_machine(self.listen, f"there is no `tls`; {step}")
            if self.local_listen is not None:
                raise located([(("local_listen",), "without `tls`, `listen` is local already")])
        else:
            _check_host_port(self.listen)
        if self.local_listen is not None and not self.local_listen.startswith("unix:"):
            _refuse_beyond_this_machine(self.local_listen, "it is plaintext", "local_listen")
        return self


class MetricsSettings(Strict):
    """The Prometheus endpoint."""

    listen: str = Field(
        default="127.0.0.1:9464",
        description="`host:port`, port 0 for any free one; plaintext, hence loopback only",
    )

    @model_validator(mode="after")
    def _loopback(self) -> MetricsSettings:
        _refuse_beyond_this_machine(self.listen, "metrics are served without TLS")
        return self


def _refuse_beyond_this_machine(listen: str, because: str, key: str = "listen") -> None:
    host = _check_host_port(listen, key)
    if not _is_loopback(host):
        message = f"'{host}' is not loopback, and {because}: use 127.0.0.1 or a tunnel"
        raise located([((key,), message)])


def _check_host_port(listen: str, key: str = "listen") -> str:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise located([((key,), f"must be host:port; here it is '{listen}'")])
    return host.strip("[]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class StoreSettings(Strict):
    """What results and evidence may take."""

    evidence_quota_mb: int = Field(
        default=20_000, ge=1, description="evidence beyond this goes, oldest OK first"
    )


class LogSettings(Strict):
    """What the daemon tells on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is told"
    )
    format: Literal["text", "json"] = Field(default="text", description="for people or for machines")


class Settings(Strict):
    """Everything one device needs to be told."""

    device: DeviceSettings
    engine: EngineSettings = EngineSettings()
    cameras: tuple[CameraSettings, ...] = Field(min_length=1)
    stations: tuple[StationSettings, ...] = Field(min_length=1)
    mqtt: MqttSettings | None = None
    grpc: GrpcSettings = GrpcSettings()
    metrics: MetricsSettings | None = None
    outputs: tuple[OutputSettings, ...] = ()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        cameras = [camera.id for camera in self.cameras]
        problems: list[tuple[KeyPath, str]] = [
            *_doubled("cameras", cameras),
            *_doubled("stations", [station.id for station in self.stations]),
        ]
        for index, station in enumerate(self.stations):
            if station.camera not in cameras:
                hint = nearest(station.camera, cameras)
                problems.append(
                    (("stations", index, "camera"), f"no camera is called '{station.camera}'; {hint}")
                )
        stations = [station.id for station in self.stations]
        problems += _doubled("outputs", [output.id for output in self.outputs])
        for index, output in enumerate(self.outputs):
            if output.station not in stations:
                hint = nearest(output.station, stations)
                problems.append(
                    (("outputs", index, "station"), f"no station is called '{output.station}'; {hint}")
                )
        if problems:
            raise located(problems)
        return self

    def camera(self, name: str) -> CameraSettings:
        """The camera of that name. Raises KeyError."""
        for camera in self.cameras:
            if camera.id == name:
                return camera
        raise KeyError(name)


def _doubled(group: str, names: list[str]) -> list[tuple[KeyPath, str]]:
    return [
        ((group, index, "id"), f"'{name}' is taken by {group}[{names.index(name)}]")
        for index, name in enumerate(names)
        if names.index(name) < index
    ]


def load_settings(path: Path) -> Settings:
    """Reads and checks the settings file.

    Raises:
        BadFile: with every problem's line, key and the nearest right key.
    """
    return read_file(path, Settings, context={"folder": path.resolve().parent})
