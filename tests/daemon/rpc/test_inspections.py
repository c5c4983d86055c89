"""InspectionService over a real socket, used as a client that has nothing but the protos."""

from __future__ import annotations

import threading
import time

import cv2
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from lineside.daemon.values import TriggerKind, Verdict
from lineside.v1 import inspections_pb2 as pb
from lineside.v1 import results_pb2
from lineside.v1.inspections_pb2_grpc import InspectionServiceStub

STATION = "devices/box7/stations/st1"


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)
    assert status is not None, f"no rich error: {error}"
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "lineside"
    return info


def refused(call, code):
    """Runs a call that must fail with `code`; gives its ErrorInfo."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code, caught.value
    return error_info(caught.value)


class TestInspect:
    def test_a_live_part_is_triggered_and_its_verdict_comes_back(self, channel, appliance):
        answer = InspectionServiceStub(channel).Inspect(
            pb.InspectRequest(station=STATION, part_id="4711", expected={"lot": "L9"}), timeout=30
        )
        assert answer.inspection.evaluation == results_pb2.RESULT_EVALUATION_OK
        assert answer.inspection.part_id == "4711"
        assert answer.inspection.name == f"devices/box7/inspections/{answer.inspection.result_id}"
        assert appliance.asked == [("st1", "4711", {"lot": "L9"}, TriggerKind.GRPC)]

    def test_a_dash_means_the_device_that_answers(self, channel):
        answer = InspectionServiceStub(channel).Inspect(
            pb.InspectRequest(station="devices/-/stations/st2"), timeout=30
        )
        assert answer.inspection.station == "st2"

    def test_an_uploaded_picture_arrives_pixel_for_pixel(self, channel, appliance, draw):
        image = draw()
        _, png = cv2.imencode(".png", image)
        InspectionServiceStub(channel).Inspect(
            pb.InspectRequest(station=STATION, image=png.tobytes()), timeout=30
        )
        assert (appliance.pictures[0] == image).all()

    def test_the_same_request_id_judges_once(self, channel, appliance):
        stub = InspectionServiceStub(channel)
        request = pb.InspectRequest(station=STATION, request_id="8d3c")
        first, second = (stub.Inspect(request, timeout=30) for _ in range(2))
        assert first == second
        assert len(appliance.asked) == 1

    def test_a_verdict_that_does_not_come_is_an_error_that_says_where_it_will_be(self, channel, appliance):
        appliance.hold = True
        stub = InspectionServiceStub(channel)
        info = refused(
            lambda: stub.Inspect(pb.InspectRequest(station=STATION), timeout=2),
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        assert info.reason == "VERDICT_PENDING"
        name = f"devices/box7/inspections/{info.metadata['result_id']}"
        refused(lambda: stub.GetInspection(pb.GetInspectionRequest(name=name)), grpc.StatusCode.NOT_FOUND)
        appliance.release()
        late = stub.GetInspection(pb.GetInspectionRequest(name=name))
        assert late.inspection.result_id == info.metadata["result_id"]

    def test_a_station_that_is_not_ready_refuses(self, channel, appliance):
        appliance.ready = False
        info = refused(
            lambda: InspectionServiceStub(channel).Inspect(pb.InspectRequest(station=STATION), timeout=30),
            grpc.StatusCode.FAILED_PRECONDITION,
        )
        assert info.reason == "NOT_READY"

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            (pb.InspectRequest(), "station"),
            (pb.InspectRequest(station="st1"), "station"),
            (pb.InspectRequest(station="devices/box7/cameras/st1"), "station"),
            (pb.InspectRequest(station="devices/box7/stations/../x"), "station"),
            (pb.InspectRequest(station=STATION, image=b"not a picture"), "image"),
            (pb.InspectRequest(station=STATION, image=b""), "image"),
            (pb.InspectRequest(station=STATION, part_id=""), "part_id"),
            (pb.InspectRequest(station=STATION, part_id="x" * 201), "part_id"),
            (pb.InspectRequest(station=STATION, part_id="a\nb"), "part_id"),
            (pb.InspectRequest(station=STATION, request_id="x" * 129), "request_id"),
            (pb.InspectRequest(station=STATION, expected={"": "x"}), "expected"),
        ],
    )
    def test_a_bad_field_is_named_and_nothing_is_judged(self, channel, appliance, request_, field):
        stub = InspectionServiceStub(channel)
        info = refused(lambda: stub.Inspect(request_, timeout=30), grpc.StatusCode.INVALID_ARGUMENT)
        assert info.metadata["field"] == field
        assert appliance.asked == []

    def test_a_truncated_jpeg_header_that_claims_a_huge_picture_is_refused_undecoded(self, channel, draw):
        _, png = cv2.imencode(".png", draw())
        bomb = bytearray(png.tobytes())
        bomb[16:24] = (40_000).to_bytes(4, "big") * 2  # width and height in the PNG header
        info = refused(
            lambda: InspectionServiceStub(channel).Inspect(
                pb.InspectRequest(station=STATION, image=bytes(bomb)), timeout=30
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert info.metadata["field"] == "image"

    def test_an_unknown_station_or_device_is_not_found_with_the_names_there_are(self, channel):
        stub = InspectionServiceStub(channel)
        for name, said in (("devices/box7/stations/st9", "st1, st2"), ("devices/box8/stations/st1", "box7")):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Inspect(pb.InspectRequest(station=name), timeout=30)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert said in caught.value.details()

    def test_more_waiting_callers_than_slots_are_refused_without_judging(self, serve, appliance):
        appliance.hold = True
        _, channel = serve(max_inspects=1)
        stub = InspectionServiceStub(channel)
        first = stub.Inspect.future(pb.InspectRequest(station=STATION), timeout=60)
        wait_until(lambda: len(appliance.asked) == 1)
        info = refused(
            lambda: stub.Inspect(pb.InspectRequest(station=STATION), timeout=30),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )
        assert info.metadata["limit"] == "1"
        assert len(appliance.asked) == 1
        appliance.release()
        assert first.result(timeout=60).inspection.result_id == "live1"

    def test_a_fault_inside_is_an_error_and_tells_the_network_nothing(self, channel, appliance):
        appliance.broken = True
        with pytest.raises(grpc.RpcError) as caught:
            InspectionServiceStub(channel).Inspect(pb.InspectRequest(station=STATION), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in caught.value.details()
        assert error_info(caught.value).reason == "INTERNAL_ERROR"


def wait_until(condition, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.01)


class TestList:
    def test_pages_together_are_the_whole_list_newest_first(self, channel, results, make):
        for sequence in range(1, 24):
            results.add(make(sequence))
        stub = InspectionServiceStub(channel)
        seen: list[int] = []
        pages = 0
        token = ""
        while True:
            page = stub.ListInspections(
                pb.ListInspectionsRequest(parent="devices/box7", page_size=5, page_token=token)
            )
            seen += [each.sequence for each in page.inspections]
            pages += 1
            token = page.next_page_token
            if not token:
                break
        assert seen == list(range(23, 0, -1))
        assert pages == 5

    def test_an_exact_last_page_has_no_token(self, channel, results, make):
        for sequence in range(1, 5):
            results.add(make(sequence))
        page = InspectionServiceStub(channel).ListInspections(pb.ListInspectionsRequest(page_size=4))
        assert len(page.inspections) == 4
        assert page.next_page_token == ""

    def test_what_is_stored_between_two_pages_doubles_nothing(self, channel, results, make):
        for sequence in range(1, 5):
            results.add(make(sequence))
        stub = InspectionServiceStub(channel)
        first = stub.ListInspections(pb.ListInspectionsRequest(page_size=2))
        results.add(make(5))
        second = stub.ListInspections(
            pb.ListInspectionsRequest(page_size=2, page_token=first.next_page_token)
        )
        assert [each.sequence for each in (*first.inspections, *second.inspections)] == [4, 3, 2, 1]

    def test_a_filter_chooses(self, channel, results, make):
        for sequence in range(1, 9):
            results.add(make(sequence, verdict=Verdict.NOT_OK if sequence % 2 else Verdict.OK))
        page = InspectionServiceStub(channel).ListInspections(
            pb.ListInspectionsRequest(
                filter='evaluation = NOT_OK AND trigger_time >= "2026-03-01T12:00:03Z" AND station = st1'
            )
        )
        assert [each.sequence for each in page.inspections] == [7, 5, 3]

    def test_other_arguments_with_an_old_token_are_refused(self, channel, results, make):
        for sequence in range(1, 5):
            results.add(make(sequence))
        stub = InspectionServiceStub(channel)
        token = stub.ListInspections(pb.ListInspectionsRequest(page_size=2)).next_page_token
        info = refused(
            lambda: stub.ListInspections(pb.ListInspectionsRequest(page_token=token, filter="station = st1")),
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert info.metadata["field"] == "page_token"

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            (pb.ListInspectionsRequest(page_size=-1), "page_size"),
            (pb.ListInspectionsRequest(page_token="WzEsMl0"), "page_token"),
            (pb.ListInspectionsRequest(page_token="é"), "page_token"),
            (pb.ListInspectionsRequest(filter="station"), "filter"),
            (pb.ListInspectionsRequest(parent="boxes/box7"), "parent"),
        ],
    )
    def test_a_bad_field_is_named(self, channel, request_, field):
        stub = InspectionServiceStub(channel)
        info = refused(lambda: stub.ListInspections(request_), grpc.StatusCode.INVALID_ARGUMENT)
        assert info.metadata["field"] == field


class Watcher:
    """Collects a watch's events on a thread of its own, until the stream ends."""

    def __init__(self, channel: grpc.Channel, **request: object) -> None:
        self.sequences: list[int] = []
        self.progress: list[int] = []
        self.error: grpc.RpcError | None = None
        self._call = InspectionServiceStub(channel).WatchInspections(pb.WatchInspectionsRequest(**request))
        self._thread = threading.Thread(target=self._run, name="watcher")
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._call:
                if event.WhichOneof("event") == "inspection":
                    self.sequences.append(event.inspection.sequence)
                else:
                    self.progress.append(event.progress.sequence)
        except grpc.RpcError as error:
            self.error = error

    def cancel(self) -> None:
        self._call.cancel()
        self.join()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the stream did not end"


class TestWatch:
    def test_what_is_there_comes_first_then_what_is_new_each_once(self, channel, results, make):
        for sequence in range(1, 251):
            results.add(make(sequence))
        watcher = Watcher(channel, after_sequence=0)
        wait_until(lambda: len(watcher.sequences) >= 40)
        for sequence in range(251, 301):
            results.add(make(sequence))
        wait_until(lambda: len(watcher.sequences) >= 300)
        watcher.cancel()
        assert watcher.sequences == list(range(1, 301))
        assert watcher.progress[0] == 0

    def test_without_a_cursor_only_new_ones_come(self, channel, results, make):
        results.add(make(1))
        watcher = Watcher(channel)
        wait_until(lambda: watcher.progress)
        assert watcher.progress[0] == 1
        results.add(make(2))
        wait_until(lambda: watcher.sequences)
        watcher.cancel()
        assert watcher.sequences == [2]

    def test_it_is_resumed_after_the_server_was_stopped_and_started_again(self, serve, results, make):
        first_server, first_channel = serve()
        for sequence in range(1, 6):
            results.add(make(sequence))
        first = Watcher(first_channel, after_sequence=0)
        wait_until(lambda: len(first.sequences) == 5)
        first_server.close()
        first.join()
        assert first.error is not None
        assert first.error.code() is grpc.StatusCode.UNAVAILABLE
        assert error_info(first.error).metadata["sequence"] == "5"
        for sequence in range(6, 9):
            results.add(make(sequence))
        _, second_channel = serve()
        second = Watcher(second_channel, after_sequence=first.sequences[-1])
        wait_until(lambda: len(second.sequences) == 3)
        results.add(make(9))
        wait_until(lambda: len(second.sequences) == 4)
        second.cancel()
        assert first.sequences + second.sequences == list(range(1, 10))

    def test_progress_moves_the_cursor_past_other_stations(self, channel, results, make):
        for sequence in range(1, 7):
            results.add(make(sequence, station="st1" if sequence % 3 else "st2"))
        watcher = Watcher(channel, after_sequence=0, station="devices/-/stations/st2")
        wait_until(lambda: 6 in watcher.progress)
        watcher.cancel()
        assert watcher.sequences == [3, 6]

    def test_a_cursor_from_another_life_of_the_store_is_refused_not_guessed(self, channel, results, make):
        results.add(make(1))
        watcher = Watcher(channel, after_sequence=2)
        watcher.join()
        assert watcher.error is not None
        assert watcher.error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert error_info(watcher.error).metadata["last_sequence"] == "1"

    def test_one_watcher_too_many_is_refused_and_a_freed_place_is_taken_again(self, serve):
        _, channel = serve(max_watchers=2)
        watchers = [Watcher(channel, after_sequence=0) for _ in range(2)]
        wait_until(lambda: all(watcher.progress for watcher in watchers))
        third = Watcher(channel, after_sequence=0)
        third.join()
        assert third.error is not None
        assert third.error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        watchers[0].cancel()

        def a_place_is_free() -> bool:
            again = Watcher(channel, after_sequence=0)
            wait_until(lambda: again.progress or again.error)
            again.cancel()
            return bool(again.progress)

        wait_until(a_place_is_free)
        watchers[1].cancel()

    def test_watchers_leave_threads_for_everybody_else(self, serve, results, make):
        results.add(make(1))
        _, channel = serve(max_watchers=3, max_inspects=1, max_evidence_streams=1, quick_threads=1)
        watchers = [Watcher(channel, after_sequence=0) for _ in range(3)]
        wait_until(lambda: all(watcher.sequences for watcher in watchers))
        answer = InspectionServiceStub(channel).GetInspection(
            pb.GetInspectionRequest(name="devices/-/inspections/r1"), timeout=60
        )
        assert answer.inspection.sequence == 1
        for watcher in watchers:
            watcher.cancel()


class TestEvidence:
    def test_chunks_put_together_are_the_stored_bytes(self, channel, results):
        data = bytes(range(256)) * 2600  # more than two chunks, and not a whole number of them
        ref = results.add_picture(data)
        chunks = list(
            InspectionServiceStub(channel).GetEvidence(
                pb.GetEvidenceRequest(name=f"devices/box7/evidence/{ref.evidence_id}")
            )
        )
        assert b"".join(chunk.data for chunk in chunks) == data
        assert len(chunks) == 3
        assert {chunk.size_bytes for chunk in chunks} == {len(data)}

    def test_it_goes_on_after_a_break(self, channel, results):
        data = bytes(range(256)) * 2600
        ref = results.add_picture(data)
        rest = InspectionServiceStub(channel).GetEvidence(
            pb.GetEvidenceRequest(name=f"devices/-/evidence/{ref.evidence_id}", offset=300_001)
        )
        assert b"".join(chunk.data for chunk in rest) == data[300_001:]

    def test_what_is_not_there_is_not_found_and_an_offset_beyond_the_end_is_out_of_range(
        self, channel, results
    ):
        stub = InspectionServiceStub(channel)
        refused(
            lambda: list(stub.GetEvidence(pb.GetEvidenceRequest(name="devices/-/evidence/abc"))),
            grpc.StatusCode.NOT_FOUND,
        )
        ref = results.add_picture(b"12345")
        name = f"devices/-/evidence/{ref.evidence_id}"
        refused(
            lambda: list(stub.GetEvidence(pb.GetEvidenceRequest(name=name, offset=6))),
            grpc.StatusCode.OUT_OF_RANGE,
        )
