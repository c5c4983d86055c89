"""CameraService: the cameras as seen now, their newest frames, and pictures pushed to them."""

from __future__ import annotations

import grpc

from lineside.daemon.clock import Clock
from lineside.daemon.ports import CameraState, RunningAppliance
from lineside.daemon.rpc import convert, pictures
from lineside.daemon.rpc.errors import RpcFault, bad_field, not_found
from lineside.daemon.rpc.names import check_device, child_id
from lineside.daemon.rpc.paging import page_of
from lineside.v1 import cameras_pb2, cameras_pb2_grpc


class CameraService(cameras_pb2_grpc.CameraServiceServicer):
    """Answers from the running appliance; holds no state."""

    def __init__(self, appliance: RunningAppliance, clock: Clock) -> None:
        self._appliance = appliance
        self._clock = clock

    def ListCameras(  # noqa: N802 - the contract's name
        self, request: cameras_pb2.ListCamerasRequest, context: grpc.ServicerContext
    ) -> cameras_pb2.ListCamerasResponse:
        """Every camera, by id."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        page, token = page_of(
            self._appliance.cameras(),
            lambda state: state.camera,
            request.page_size,
            request.page_token,
            {"list": "cameras"},
        )
        return cameras_pb2.ListCamerasResponse(
            cameras=[convert.camera(state, device) for state in page], next_page_token=token
        )

    def GetCamera(  # noqa: N802 - the contract's name
        self, request: cameras_pb2.GetCameraRequest, context: grpc.ServicerContext
    ) -> cameras_pb2.GetCameraResponse:
        """One camera."""
        state, device = self._camera(request.name)
        return cameras_pb2.GetCameraResponse(camera=convert.camera(state, device))

    def GetFrame(  # noqa: N802 - the contract's name
        self, request: cameras_pb2.GetFrameRequest, context: grpc.ServicerContext
    ) -> cameras_pb2.GetFrameResponse:
        """The newest frame as a JPEG."""
        if request.max_width < 0:
            raise bad_field("max_width", f"{request.max_width} is negative")
        if not 0 <= request.jpeg_quality <= 100:
            raise bad_field("jpeg_quality", f"{request.jpeg_quality} is not between 1 and 100")
        state, _ = self._camera(request.name)
        frame = self._appliance.newest_frame(state.camera)
        if frame is None:
            raise RpcFault(
                grpc.StatusCode.FAILED_PRECONDITION,
                "NO_FRAME",
                f"camera '{state.camera}' has had no frame yet: {state.detail or 'wait for the first one'}",
                metadata={"camera": state.camera},
            )
        data, width, height = pictures.encode_jpeg(frame.image, request.max_width, request.jpeg_quality)
        return cameras_pb2.GetFrameResponse(
            image=data,
            media_type="image/jpeg",
            width=width,
            height=height,
            age=convert.duration(max(0, self._clock.monotonic_ns() - frame.captured_ns) / 1e9),
            capture_time=convert.timestamp(frame.captured_at),
            frame_index=frame.index,
        )

    def PushFrame(  # noqa: N802 - the contract's name
        self, request: cameras_pb2.PushFrameRequest, context: grpc.ServicerContext
    ) -> cameras_pb2.PushFrameResponse:
        """Hands a picture to a camera of kind `push`."""
        state, _ = self._camera(request.name)
        if state.kind != "push":
            raise RpcFault(
                grpc.StatusCode.FAILED_PRECONDITION,
                "NOT_A_PUSH_CAMERA",
                f"camera '{state.camera}' is of kind '{state.kind}': only 'push' takes pictures",
                metadata={"camera": state.camera, "kind": state.kind},
            )
        picture = pictures.decode(request.image, "image")
        self._appliance.push_frame(state.camera, picture)
        return cameras_pb2.PushFrameResponse(width=picture.shape[1], height=picture.shape[0])

    def _camera(self, name: str) -> tuple[CameraState, str]:
        device = self._appliance.device().device
        camera = child_id(name, "cameras", device, "name")
        states = self._appliance.cameras()
        for state in states:
            if state.camera == camera:
                return state, device
        known = ", ".join(state.camera for state in states)
        raise not_found("Camera", name, f"no camera '{camera}': there are {known or 'none'}")
