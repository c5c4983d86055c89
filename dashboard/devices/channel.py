"""One gRPC channel per device and the calls the dashboard makes on it.

Every unary call has a deadline; the watch has none and is ended by its caller. With mutual TLS where the
configuration names certificates, else in plain text: a device offers that on loopback only. Knows no HTML and
keeps no state of the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from lineside.dashboard.config import Address, DeviceTls
from lineside.v1 import (
    cameras_pb2,
    cameras_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    inspections_pb2,
    inspections_pb2_grpc,
    recipes_pb2,
    recipes_pb2_grpc,
    results_pb2,
    reviews_pb2,
    reviews_pb2_grpc,
    stations_pb2,
    stations_pb2_grpc,
)

CALL_TIMEOUT_S = 4.0
PICTURE_TIMEOUT_S = 8.0
LARGEST_MESSAGE = 32 * 1024 * 1024
LARGEST_PICTURE = 16 * 1024 * 1024
LIST_PAGE = 200

OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    # A device that comes back is seen again within seconds, however long it was away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3000),
    # Two devices on one address would otherwise share a connection, and its failures.
    ("grpc.use_local_subchannel_pool", 1),
    # A device is on the plant's network: no proxy for the way to the Internet may come between.
    ("grpc.enable_http_proxy", 0),
)


def credentials(tls: DeviceTls) -> grpc.ChannelCredentials:
    """The files as gRPC takes them. Raises OSError."""
    return grpc.ssl_channel_credentials(
        tls.authority.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )


class PictureRefused(Exception):
    """A picture that is too large, incomplete, or not what its name says; the message says which."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of stored inspections, newest first; `next_token` is empty on the last one."""

    inspections: tuple[results_pb2.Inspection, ...]
    next_token: str


class Channel:
    """The calls to one device. Thread-safe. `open` before the first call, `close` at the end.

    Every call raises grpc.RpcError when the device does not answer or refuses.
    """

    def __init__(self, address: Address, tls: DeviceTls | None = None) -> None:
        self.address = address
        self.tls = tls
        self._channel: grpc.Channel | None = None

    def open(self) -> None:
        """Makes the channel; connects at the first call. Raises OSError: a certificate cannot be read."""
        if self.tls is None:
            self._channel = grpc.insecure_channel(str(self.address), options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(str(self.address), credentials(self.tls), options=OPTIONS)

    def close(self) -> None:
        """Ends every call in flight."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def _open(self) -> grpc.Channel:
        if self._channel is None:
            raise RuntimeError(f"the channel to {self.address} is not open")
        return self._channel

    def device(self) -> devices_pb2.Device:
        """The device as seen now."""
        stub = devices_pb2_grpc.DeviceServiceStub(self._open)
        return stub.GetDevice(devices_pb2.GetDeviceRequest(), timeout=CALL_TIMEOUT_S).device

    def stations(self) -> tuple[stations_pb2.Station, ...]:
        """Every station as seen now (at most 500)."""
        stub = stations_pb2_grpc.StationServiceStub(self._open)
        request = stations_pb2.ListStationsRequest(page_size=500)
        return tuple(stub.ListStations(request, timeout=CALL_TIMEOUT_S).stations)

    def cameras(self) -> tuple[cameras_pb2.Camera, ...]:
        """Every camera as seen now (at most 500)."""
        stub = cameras_pb2_grpc.CameraServiceStub(self._open)
        request = cameras_pb2.ListCamerasRequest(page_size=500)
        return tuple(stub.ListCameras(request, timeout=CALL_TIMEOUT_S).cameras)

    def frame(self, camera: str, max_width: int) -> cameras_pb2.GetFrameResponse:
        """The newest frame of a camera as a JPEG."""
        stub = cameras_pb2_grpc.CameraServiceStub(self._open)
        request = cameras_pb2.GetFrameRequest(name=f"devices/-/cameras/{camera}", max_width=max_width)
        return stub.GetFrame(request, timeout=PICTURE_TIMEOUT_S)

    def inspection(self, result_id: str) -> results_pb2.Inspection:
        """One stored inspection."""
        stub = inspections_pb2_grpc.InspectionServiceStub(self._open)
        request = inspections_pb2.GetInspectionRequest(name=f"devices/-/inspections/{result_id}")
        return stub.GetInspection(request, timeout=CALL_TIMEOUT_S).inspection

    def inspections(self, page_token: str) -> Page:
        """One page of stored inspections, newest first."""
        stub = inspections_pb2_grpc.InspectionServiceStub(self._open)
        request = inspections_pb2.ListInspectionsRequest(page_size=LIST_PAGE, page_token=page_token)
        answer = stub.ListInspections(request, timeout=PICTURE_TIMEOUT_S)
        return Page(tuple(answer.inspections), answer.next_page_token)

    def recipe_text(self, recipe: str, version: int) -> str:
        """The YAML text of one recipe version."""
        stub = recipes_pb2_grpc.RecipeServiceStub(self._open)
        request = recipes_pb2.GetRecipeRequest(name=f"devices/-/recipes/{recipe}@{version}")
        return stub.GetRecipe(request, timeout=CALL_TIMEOUT_S).recipe.text

    def submit_review(self, review: reviews_pb2.Review, request_id: str) -> None:
        """Hands a person's decision over; the same `request_id` again stores nothing twice."""
        stub = reviews_pb2_grpc.ReviewServiceStub(self._open)
        request = reviews_pb2.SubmitReviewRequest(review=review, request_id=request_id)
        stub.SubmitReview(request, timeout=CALL_TIMEOUT_S)

    def watch(self, after_sequence: int) -> grpc.CallIterator[inspections_pb2.WatchInspectionsResponse]:
        """Stored inspections after a cursor and then each new one; `cancel()` of what is given ends it."""
        stub = inspections_pb2_grpc.InspectionServiceStub(self._open)
        return stub.WatchInspections(inspections_pb2.WatchInspectionsRequest(after_sequence=after_sequence))

    def evidence(self, evidence_id: str) -> bytes:
        """The bytes of a stored picture.

        Raises:
            PictureRefused: larger than LARGEST_PICTURE, or chunks that do not join.
        """
        stub = inspections_pb2_grpc.InspectionServiceStub(self._open)
        request = inspections_pb2.GetEvidenceRequest(name=f"devices/-/evidence/{evidence_id}")
        chunks = stub.GetEvidence(request, timeout=PICTURE_TIMEOUT_S)
        data = bytearray()
        size = 0
        for chunk in chunks:
            size = chunk.size_bytes
            if chunk.offset != len(data):
                raise PictureRefused(f"a chunk of evidence {evidence_id} is missing")
            data += chunk.data
            if max(size, len(data)) > LARGEST_PICTURE:
                raise PictureRefused(f"evidence {evidence_id} is larger than {LARGEST_PICTURE} bytes")
        if len(data) != size:
            raise PictureRefused(f"evidence {evidence_id} ended after {len(data)} of {size} bytes")
        return bytes(data)
