"""Jobs, reviews, recipe versions and engines over a real socket, against the real store and shelf."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2, field_mask_pb2

from lineside.daemon.engine_seat import EngineRefused
from lineside.daemon.pki.identity import Role
from lineside.v1 import (
    engines_pb2,
    engines_pb2_grpc,
    inspections_pb2,
    inspections_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    recipes_pb2,
    recipes_pb2_grpc,
    results_pb2,
    reviews_pb2,
    reviews_pb2_grpc,
    stations_pb2,
    stations_pb2_grpc,
)

ST1 = "devices/-/stations/st1"
RECIPE = """\
recipe: seal
version: {version}
trigger: {{kind: grpc}}
ask:
  - id: seal
    question: Is the seal closed?
    answer: {{choice: [ok, open]}}
    fail_when: [open]
"""
DEMO = Path(__file__).parents[3] / "engines" / "demo" / "demo.lsengine"


def code_of(act: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        act()
    code = refused.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


class TestJobs:
    @pytest.fixture
    def stub(self, channel: grpc.Channel) -> jobs_pb2_grpc.JobServiceStub:
        return jobs_pb2_grpc.JobServiceStub(channel)

    def create(self, stub, job: str = "J1", **fields: object) -> jobs_pb2.Job:
        start = bool(fields.pop("start", False))
        request_id = str(fields.pop("request_id", ""))
        given = jobs_pb2.Job(job=job, station=ST1, **fields)
        request = jobs_pb2.CreateJobRequest(job=given, start=start, request_id=request_id)
        return stub.CreateJob(request, timeout=30).job

    def test_a_started_job_is_what_its_station_works_on_and_by_its_recipe(
        self, stub, channel, results
    ) -> None:
        job = self.create(
            stub,
            start=True,
            lot="L77",
            quantity=500,
            recipe="devices/-/recipes/label",
            expected={"colour": "red"},
        )
        assert job.state == jobs_pb2.JOB_STATE_RUNNING
        assert dict(results.jobs.values("st1")) == {
            "lot": "L77",
            "quantity": "500",
            "colour": "red",
            "job": "J1",
        }
        station = (
            stations_pb2_grpc.StationServiceStub(channel)
            .GetStation(stations_pb2.GetStationRequest(name=ST1), timeout=30)
            .station
        )
        assert (station.job, station.recipe.recipe) == ("devices/box7/jobs/J1", "label")

    def test_a_paused_job_says_nothing_of_parts(self, stub, results) -> None:
        name = self.create(stub, start=True, lot="L1").name
        stub.PauseJob(jobs_pb2.PauseJobRequest(name=name), timeout=30)
        assert results.jobs.values("st1") == {}
        stub.ResumeJob(jobs_pb2.ResumeJobRequest(name=name), timeout=30)
        assert results.jobs.values("st1")["lot"] == "L1"
        assert stub.StopJob(jobs_pb2.StopJobRequest(name=name), timeout=30).job.HasField("end_time")

    def test_the_same_call_again_makes_one_job(self, stub) -> None:
        first = self.create(stub, request_id="a", lot="L1")
        assert self.create(stub, request_id="a", lot="L1") == first
        assert (
            code_of(lambda: self.create(stub, request_id="a", lot="L2")) is grpc.StatusCode.INVALID_ARGUMENT
        )
        assert code_of(lambda: self.create(stub, lot="L1")) is grpc.StatusCode.ALREADY_EXISTS

    def test_an_update_changes_what_the_mask_names_and_no_more(self, stub) -> None:
        job = self.create(stub, lot="L1", material="bottle")
        changed = stub.UpdateJob(
            jobs_pb2.UpdateJobRequest(
                job=jobs_pb2.Job(name=job.name, lot="L2", material="can", etag=job.etag),
                update_mask=field_mask_pb2.FieldMask(paths=["lot"]),
            ),
            timeout=30,
        ).job
        assert (changed.lot, changed.material) == ("L2", "bottle")
        stale = jobs_pb2.UpdateJobRequest(job=jobs_pb2.Job(name=job.name, lot="L3", etag=job.etag))
        assert code_of(lambda: stub.UpdateJob(stale, timeout=30)) is grpc.StatusCode.ABORTED
        wrong = jobs_pb2.UpdateJobRequest(
            job=jobs_pb2.Job(name=job.name), update_mask=field_mask_pb2.FieldMask(paths=["state"])
        )
        assert code_of(lambda: stub.UpdateJob(wrong, timeout=30)) is grpc.StatusCode.INVALID_ARGUMENT

    def test_jobs_are_listed_newest_first_page_by_page(self, stub) -> None:
        for number in range(5):
            self.create(stub, f"J{number}")
        names, token = [], ""
        while True:
            page = stub.ListJobs(jobs_pb2.ListJobsRequest(page_size=2, page_token=token), timeout=30)
            names += [job.job for job in page.jobs]
            token = page.next_page_token
            if not token:
                break
        assert names == ["J4", "J3", "J2", "J1", "J0"]
        running = jobs_pb2.ListJobsRequest(state=jobs_pb2.JOB_STATE_RUNNING)
        assert list(stub.ListJobs(running, timeout=30).jobs) == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"quantity": -1},
            {"lot": "a\nb"},
            {"expected": {"job": "x"}},
            {"recipe": "cap"},
            {"lot": "x" * 201},
        ],
    )
    def test_a_field_that_cannot_be_is_named(self, stub, fields: dict[str, object]) -> None:
        assert code_of(lambda: self.create(stub, **fields)) is grpc.StatusCode.INVALID_ARGUMENT

    def test_verdicts_under_a_job_are_counted(self, stub, results, make) -> None:
        name = self.create(stub, start=True).name
        result = make(1)
        object.__setattr__(result.draft.intake, "expected", {"job": "J1"})
        results.add(result)
        counts = stub.GetJob(jobs_pb2.GetJobRequest(name=name), timeout=30).job.counts
        assert (counts.judged, counts.ok) == (1, 1)


class TestReviews:
    def test_a_decision_is_kept_with_who_made_it(self, channel, results, make) -> None:
        results.add(make(1))
        stub = reviews_pb2_grpc.ReviewServiceStub(channel)
        review = reviews_pb2.Review(
            inspection="devices/-/inspections/r1",
            evaluation=results_pb2.RESULT_EVALUATION_NOT_OK,
            answers={"cap": "tilted"},
            reviewer="anna",
        )
        request = reviews_pb2.SubmitReviewRequest(review=review, request_id="one")
        stored = stub.SubmitReview(request, timeout=30).review
        assert stub.SubmitReview(request, timeout=30).review == stored
        assert (stored.reviewer, stored.submitted_by) == ("anna", "local")
        assert stored.verdict == results_pb2.RESULT_EVALUATION_OK
        assert stub.GetReview(reviews_pb2.GetReviewRequest(name=stored.name), timeout=30).review == stored
        listed = stub.ListReviews(reviews_pb2.ListReviewsRequest(), timeout=30).reviews
        assert list(listed) == [stored]

    @pytest.mark.parametrize(
        ("review", "code"),
        [
            ({"inspection": "devices/-/inspections/r9", "evaluation": 1}, grpc.StatusCode.NOT_FOUND),
            ({"inspection": "devices/-/inspections/r1"}, grpc.StatusCode.INVALID_ARGUMENT),
            (
                {"inspection": "devices/-/inspections/r1", "evaluation": 1, "comment": "x" * 2001},
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
        ],
    )
    def test_what_is_no_decision_is_refused(self, channel, results, make, review, code) -> None:
        results.add(make(1))
        request = reviews_pb2.SubmitReviewRequest(review=reviews_pb2.Review(**review))
        stub = reviews_pb2_grpc.ReviewServiceStub(channel)
        assert code_of(lambda: stub.SubmitReview(request, timeout=30)) is code


class TestRecipes:
    @pytest.fixture
    def stub(self, channel: grpc.Channel) -> recipes_pb2_grpc.RecipeServiceStub:
        return recipes_pb2_grpc.RecipeServiceStub(channel)

    def test_a_text_is_checked_with_the_line_of_each_problem(self, stub) -> None:
        bad = RECIPE.format(version=1).replace("fail_when", "fail_wen")
        found = stub.ValidateRecipe(recipes_pb2.ValidateRecipeRequest(text=bad), timeout=30)
        assert [(one.line, "fail_when" in one.message) for one in found.problems] == [(8, True)]
        good = stub.ValidateRecipe(
            recipes_pb2.ValidateRecipeRequest(text=RECIPE.format(version=3)), timeout=30
        )
        assert (good.recipe.recipe, good.recipe.version, list(good.problems)) == ("seal", 3, [])
        wrong = recipes_pb2.CreateRecipeRequest(text=bad)
        assert code_of(lambda: stub.CreateRecipe(wrong, timeout=30)) is grpc.StatusCode.INVALID_ARGUMENT

    def test_a_version_is_installed_activated_and_rolled_back(self, stub) -> None:
        text = RECIPE.format(version=1)
        made = stub.CreateRecipe(recipes_pb2.CreateRecipeRequest(text=text), timeout=30).recipe
        assert (made.name, made.text) == ("devices/box7/recipes/seal@1", text)
        activate = recipes_pb2.ActivateRecipeRequest(station=ST1, recipe=made.name, request_id="one")
        first = stub.ActivateRecipe(activate, timeout=30)
        assert (first.recipe.recipe, first.previous.recipe) == ("seal", "cap")
        rolled = stub.RollBackRecipe(recipes_pb2.RollBackRecipeRequest(station=ST1), timeout=30)
        assert (rolled.recipe.recipe, rolled.previous.recipe) == ("cap", "seal")
        # The first call again, late: it does not undo the rollback.
        assert stub.ActivateRecipe(activate, timeout=30) == first
        again = stub.RollBackRecipe(recipes_pb2.RollBackRecipeRequest(station=ST1), timeout=30)
        assert again.recipe.recipe == "seal"

    def test_an_old_etag_changes_nothing(self, stub, channel) -> None:
        stations = stations_pb2_grpc.StationServiceStub(channel)
        etag = stations.GetStation(stations_pb2.GetStationRequest(name=ST1), timeout=30).station.etag
        request = recipes_pb2.ActivateRecipeRequest(
            station=ST1, recipe="devices/-/recipes/label@1", etag=etag
        )
        stub.ActivateRecipe(request, timeout=30)
        assert code_of(lambda: stub.ActivateRecipe(request, timeout=30)) is grpc.StatusCode.ABORTED

    def test_there_may_be_nothing_to_roll_back_to(self, stub) -> None:
        request = recipes_pb2.RollBackRecipeRequest(station=ST1)
        assert (
            code_of(lambda: stub.RollBackRecipe(request, timeout=30)) is grpc.StatusCode.FAILED_PRECONDITION
        )


def test_only_the_fields_asked_for_come(channel, results, make) -> None:
    results.add(make(1))
    stub = inspections_pb2_grpc.InspectionServiceStub(channel)
    mask = field_mask_pb2.FieldMask(paths=["part_id", "recipe.version"])
    listed = stub.ListInspections(
        inspections_pb2.ListInspectionsRequest(read_mask=mask), timeout=30
    ).inspections
    assert [(one.part_id, one.recipe.version, one.result_id, one.recipe.recipe) for one in listed] == [
        ("p", 2, "", "")
    ]
    watch = stub.WatchInspections(
        inspections_pb2.WatchInspectionsRequest(after_sequence=0, read_mask=mask), timeout=30
    )
    next(watch)
    seen = next(watch).inspection
    watch.cancel()
    assert (seen.sequence, seen.part_id, seen.station) == (1, "p", "")
    wrong = inspections_pb2.ListInspectionsRequest(read_mask=field_mask_pb2.FieldMask(paths=["colour"]))
    assert code_of(lambda: stub.ListInspections(wrong, timeout=30)) is grpc.StatusCode.INVALID_ARGUMENT


class TestEngines:
    @pytest.fixture
    def channel(self, serve) -> grpc.Channel:
        return serve(local_role=Role.ADMIN)[1]

    @pytest.fixture
    def stub(self, channel: grpc.Channel) -> engines_pb2_grpc.EngineServiceStub:
        return engines_pb2_grpc.EngineServiceStub(channel)

    @pytest.fixture
    def another(self, tmp_path: Path) -> bytes:
        """The demo engine under another version: another digest."""
        from lineside.engines.bundle import amend_bundle

        copy = tmp_path / "another.lsengine"
        copy.write_bytes(DEMO.read_bytes())
        amend_bundle(copy, lambda manifest: {"version": "9.0.0"})
        return copy.read_bytes()

    def send(self, stub, data: bytes, *, sha256: str | None = None, chunk: int = 300_000) -> str:
        digest = sha256 or hashlib.sha256(data).hexdigest()
        upload = stub.CreateEngineUpload(
            engines_pb2.CreateEngineUploadRequest(sha256=digest, size_bytes=len(data)), timeout=30
        ).upload
        at = upload.received_bytes
        while at < len(data):
            request = engines_pb2.WriteEngineUploadRequest(
                name=upload.name, offset=at, data=data[at : at + chunk]
            )
            at = stub.WriteEngineUpload(request, timeout=30).upload.received_bytes
        return str(upload.name)

    def done(self, channel: grpc.Channel, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        stub = operations_pb2_grpc.OperationsStub(channel)
        for _ in range(20):
            request = operations_pb2.WaitOperationRequest(
                name=operation.name, timeout=duration_pb2.Duration(seconds=10)
            )
            operation = stub.WaitOperation(request, timeout=30)
            if operation.done:
                return operation
        raise AssertionError("the operation did not end")

    def install(self, stub, channel: grpc.Channel, data: bytes) -> engines_pb2.Engine:
        request = engines_pb2.InstallEngineRequest(upload=self.send(stub, data))
        operation = self.done(channel, stub.InstallEngine(request, timeout=30))
        engine = engines_pb2.Engine()
        assert operation.response.Unpack(engine), operation
        return engine

    def slots(self, stub) -> list[tuple[str, str]]:
        listed = stub.ListEngines(engines_pb2.ListEnginesRequest(), timeout=30).engines
        return [(engines_pb2.EngineSlot.Name(one.slot)[12:], one.version) for one in listed]

    def test_an_engine_is_sent_installed_activated_and_rolled_back(
        self, stub, channel, another, results
    ) -> None:
        ((_, own),) = self.slots(stub)
        engine = self.install(stub, channel, another)
        assert self.slots(stub) == [("ACTIVE", own), ("STAGED", "9.0.0")]
        activate = engines_pb2.ActivateEngineRequest(name=engine.name, request_id="go")
        operation = stub.ActivateEngine(activate, timeout=30)
        assert stub.ActivateEngine(activate, timeout=30).name == operation.name
        self.done(channel, operation)
        assert self.slots(stub) == [("ACTIVE", "9.0.0"), ("PREVIOUS", own)]
        assert results.switched == results.selftested
        assert results.engines.active_bundle() == results.switched[0]
        self.done(channel, stub.RollBackEngine(engines_pb2.RollBackEngineRequest(), timeout=30))
        assert self.slots(stub) == [("ACTIVE", own), ("PREVIOUS", "9.0.0")]
        assert results.engines.active_bundle() == DEMO

    def test_an_engine_older_than_what_judged_here_is_refused_unless_it_is_meant(
        self, stub, channel, another, tmp_path
    ) -> None:
        from lineside.engines.bundle import amend_bundle

        newer = self.install(stub, channel, another)
        activate = engines_pb2.ActivateEngineRequest(name=newer.name)
        assert not self.done(channel, stub.ActivateEngine(activate, timeout=30)).HasField("error")
        file = tmp_path / "older.lsengine"
        file.write_bytes(DEMO.read_bytes())
        amend_bundle(file, lambda manifest: {"version": "8.9.9"})
        older = file.read_bytes()
        request = engines_pb2.InstallEngineRequest(upload=self.send(stub, older))
        refused = self.done(channel, stub.InstallEngine(request, timeout=30))
        assert refused.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "older than 9.0.0" in refused.error.message
        meant = engines_pb2.InstallEngineRequest(upload=self.send(stub, older), allow_downgrade=True)
        assert not self.done(channel, stub.InstallEngine(meant, timeout=30)).HasField("error")
        assert ("STAGED", "8.9.9") in self.slots(stub)

    def test_an_engine_that_cannot_take_over_leaves_the_one_before(
        self, stub, channel, another, results, monkeypatch
    ) -> None:
        before = self.slots(stub)
        engine = self.install(stub, channel, another)

        def refuse(path: Path) -> None:
            raise EngineRefused("too little memory")

        monkeypatch.setattr(results.engines, "_selftest", refuse)
        operation = self.done(
            channel, stub.ActivateEngine(engines_pb2.ActivateEngineRequest(name=engine.name), timeout=30)
        )
        assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert "too little memory" in operation.error.message
        assert self.slots(stub)[: len(before)] == before
        assert results.engines.active_bundle() == DEMO

    def test_an_upload_goes_on_where_it_broke_off(self, stub, another) -> None:
        digest = hashlib.sha256(another).hexdigest()
        begin = engines_pb2.CreateEngineUploadRequest(sha256=digest, size_bytes=len(another))
        upload = stub.CreateEngineUpload(begin, timeout=30).upload
        part = engines_pb2.WriteEngineUploadRequest(name=upload.name, offset=0, data=another[:1000])
        stub.WriteEngineUpload(part, timeout=30)
        assert stub.WriteEngineUpload(part, timeout=30).upload.received_bytes == 1000
        assert stub.CreateEngineUpload(begin, timeout=30).upload.received_bytes == 1000
        gap = engines_pb2.WriteEngineUploadRequest(name=upload.name, offset=2000, data=b"x")
        assert code_of(lambda: stub.WriteEngineUpload(gap, timeout=30)) is grpc.StatusCode.OUT_OF_RANGE
        early = engines_pb2.InstallEngineRequest(upload=upload.name)
        assert code_of(lambda: stub.InstallEngine(early, timeout=30)) is grpc.StatusCode.FAILED_PRECONDITION
        stub.DeleteEngineUpload(engines_pb2.DeleteEngineUploadRequest(name=upload.name), timeout=30)
        gone = engines_pb2.GetEngineUploadRequest(name=upload.name)
        assert code_of(lambda: stub.GetEngineUpload(gone, timeout=30)) is grpc.StatusCode.NOT_FOUND

    @pytest.mark.parametrize("damage", ["not a bundle", "a bit"])
    def test_a_bundle_that_does_not_hold_is_refused_and_removed(
        self, stub, channel, another, damage: str, results
    ) -> None:
        data = bytearray(another)
        data[len(data) // 2] ^= 1
        wrong = b"x" * 5000 if damage == "not a bundle" else bytes(data)
        request = engines_pb2.InstallEngineRequest(upload=self.send(stub, wrong))
        operation = self.done(channel, stub.InstallEngine(request, timeout=30))
        assert operation.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
        assert len(self.slots(stub)) == 1
        assert list((results.engines._folder / "uploads").iterdir()) == []

    def test_a_file_that_is_not_the_announced_one_is_refused(self, stub, channel, another) -> None:
        upload = self.send(stub, another, sha256="ab" * 32)
        request = engines_pb2.InstallEngineRequest(upload=upload)
        operation = self.done(channel, stub.InstallEngine(request, timeout=30))
        assert operation.error.code == grpc.StatusCode.DATA_LOSS.value[0]

    def test_the_engine_that_judges_is_not_removed(self, stub, channel, another) -> None:
        (active,) = stub.ListEngines(engines_pb2.ListEnginesRequest(), timeout=30).engines
        request = engines_pb2.DeleteEngineRequest(name=active.name)
        assert code_of(lambda: stub.DeleteEngine(request, timeout=30)) is grpc.StatusCode.FAILED_PRECONDITION
        staged = self.install(stub, channel, another)
        stub.DeleteEngine(engines_pb2.DeleteEngineRequest(name=staged.name), timeout=30)
        assert len(self.slots(stub)) == 1
