"""Device, camera, station and recipe services over a real socket."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import cv2
import grpc
import numpy as np
import pytest

from lineside.daemon.values import Frame, TriggerKind
from lineside.v1 import cameras_pb2 as cam
from lineside.v1 import devices_pb2, recipes_pb2, stations_pb2
from lineside.v1.cameras_pb2_grpc import CameraServiceStub
from lineside.v1.devices_pb2_grpc import DeviceServiceStub
from lineside.v1.recipes_pb2_grpc import RecipeServiceStub
from lineside.v1.stations_pb2_grpc import StationServiceStub


def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


class TestDevice:
    @pytest.mark.parametrize("name", ["", "devices/-", "devices/box7"])
    def test_it_answers_to_its_names(self, channel, name):
        device = DeviceServiceStub(channel).GetDevice(devices_pb2.GetDeviceRequest(name=name)).device
        assert device.name == "devices/box7"
        assert device.engine_state == devices_pb2.ENGINE_STATE_READY
        assert [(each.consumer, each.depth) for each in device.outbox] == [("mqtt", 3)]
        assert device.outbox_oldest_age.ToTimedelta().total_seconds() == 1.5

    def test_it_does_not_answer_for_another(self, channel):
        stub = DeviceServiceStub(channel)
        assert code_of(lambda: stub.GetDevice(devices_pb2.GetDeviceRequest(name="devices/box8"))) is (
            grpc.StatusCode.NOT_FOUND
        )


class TestCameras:
    def test_they_are_listed_by_id_in_pages(self, channel):
        stub = CameraServiceStub(channel)
        first = stub.ListCameras(cam.ListCamerasRequest(page_size=1))
        second = stub.ListCameras(cam.ListCamerasRequest(page_size=1, page_token=first.next_page_token))
        assert [each.camera for each in (*first.cameras, *second.cameras)] == ["cam1", "push1"]
        assert second.next_page_token == ""
        assert first.cameras[0].HasField("last_frame_age")
        assert not second.cameras[0].HasField("last_frame_age")

    def test_the_newest_frame_comes_as_a_jpeg_with_its_age(self, channel, appliance, draw):
        image = draw(640, 480)
        an_hour_ago = time.monotonic_ns() - 3_600_000_000_000
        appliance.frame = Frame("cam1", 41, image, an_hour_ago, datetime(2026, 3, 1, tzinfo=UTC))
        answer = CameraServiceStub(channel).GetFrame(
            cam.GetFrameRequest(name="devices/box7/cameras/cam1", max_width=320)
        )
        decoded = cv2.imdecode(np.frombuffer(answer.image, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == (240, 320, 3) == (answer.height, answer.width, 3)
        assert abs(decoded.astype(int) - cv2.resize(image, (320, 240)).astype(int)).mean() < 4
        assert 3600 <= answer.age.ToTimedelta().total_seconds() < 3900
        assert answer.frame_index == 41

    def test_before_the_first_frame_there_is_none(self, channel):
        stub = CameraServiceStub(channel)
        for name in ("cam1", "push1"):
            request = cam.GetFrameRequest(name=f"devices/-/cameras/{name}")
            assert (
                code_of(lambda request=request: stub.GetFrame(request)) is grpc.StatusCode.FAILED_PRECONDITION
            )

    def test_a_picture_is_pushed_to_a_push_camera_only(self, channel, appliance, draw):
        stub = CameraServiceStub(channel)
        _, png = cv2.imencode(".png", draw())
        answer = stub.PushFrame(cam.PushFrameRequest(name="devices/-/cameras/push1", image=png.tobytes()))
        assert (answer.width, answer.height) == (64, 48)
        assert (appliance.pushed[0][1] == draw()).all()
        other = cam.PushFrameRequest(name="devices/-/cameras/cam1", image=png.tobytes())
        assert code_of(lambda: stub.PushFrame(other)) is grpc.StatusCode.FAILED_PRECONDITION
        assert len(appliance.pushed) == 1

    @pytest.mark.parametrize("changes", [{"max_width": -1}, {"jpeg_quality": 101}, {"name": "cam1"}])
    def test_bad_wishes_are_refused(self, channel, changes):
        request = cam.GetFrameRequest(**{"name": "devices/-/cameras/cam1", **changes})
        assert (
            code_of(lambda: CameraServiceStub(channel).GetFrame(request)) is grpc.StatusCode.INVALID_ARGUMENT
        )


class TestStations:
    def test_they_say_why_they_are_not_ready(self, channel, appliance):
        appliance.ready = False
        stub = StationServiceStub(channel)
        listed = stub.ListStations(stations_pb2.ListStationsRequest(parent="devices/-")).stations
        assert [(each.station, each.ready) for each in listed] == [("st1", False), ("st2", False)]
        one = stub.GetStation(stations_pb2.GetStationRequest(name="devices/-/stations/st1")).station
        assert list(one.not_ready_because) == ["engine starting"]
        assert one.recipe.recipe == "cap"

    def test_a_trigger_gives_the_name_under_which_the_result_will_be(self, channel, appliance):
        answer = StationServiceStub(channel).TriggerStation(
            stations_pb2.TriggerStationRequest(
                name="devices/-/stations/st2", part_id="7", expected={"lot": "L"}
            )
        )
        assert answer.inspection == f"devices/box7/inspections/{answer.result_id}"
        assert appliance.asked == [("st2", "7", {"lot": "L"}, TriggerKind.GRPC)]


class TestRecipes:
    def test_every_version_is_listed_with_the_stations_that_judge_by_it(self, channel):
        listed = RecipeServiceStub(channel).ListRecipes(recipes_pb2.ListRecipesRequest()).recipes
        assert [(each.name, list(each.stations), each.text) for each in listed] == [
            ("devices/box7/recipes/cap@1", [], ""),
            ("devices/box7/recipes/cap@2", ["st1"], ""),
            ("devices/box7/recipes/label@1", ["st2"], ""),
        ]

    def test_a_recipe_comes_with_its_text_the_newest_unless_a_version_is_named(self, channel):
        stub = RecipeServiceStub(channel)
        for name, version in (("cap", 2), ("cap@1", 1)):
            request = recipes_pb2.GetRecipeRequest(name=f"devices/-/recipes/{name}")
            recipe = stub.GetRecipe(request).recipe
            assert recipe.recipe.version == version
            assert recipe.text.startswith("recipe: cap")
        unknown = recipes_pb2.GetRecipeRequest(name="devices/-/recipes/cap@3")
        assert code_of(lambda: stub.GetRecipe(unknown)) is grpc.StatusCode.NOT_FOUND

    def test_selecting_changes_what_the_station_judges_by(self, channel, appliance):
        stub = RecipeServiceStub(channel)
        selected = stub.SelectRecipe(
            recipes_pb2.SelectRecipeRequest(station="devices/-/stations/st2", recipe="devices/-/recipes/cap")
        ).recipe
        assert (selected.recipe, selected.version) == ("cap", 2)
        assert {each.station: each.recipe.name for each in appliance.stations()}["st2"] == "cap"

    @pytest.mark.parametrize(
        ("recipe", "code"),
        [
            ("devices/-/recipes/nothing", grpc.StatusCode.NOT_FOUND),
            ("devices/-/recipes/cap@1", grpc.StatusCode.INVALID_ARGUMENT),
            ("cap", grpc.StatusCode.INVALID_ARGUMENT),
        ],
    )
    def test_what_cannot_be_selected_is_refused(self, channel, recipe, code):
        request = recipes_pb2.SelectRecipeRequest(station="devices/-/stations/st1", recipe=recipe)
        assert code_of(lambda: RecipeServiceStub(channel).SelectRecipe(request)) is code
