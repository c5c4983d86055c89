"""JobService: job orders of the plant, as ISA-95 has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc

from lineside.daemon.clock import Clock
from lineside.daemon.jobs import JOB_KEY, Job, JobMove, JobState
from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.asking import MOST_EXPECTED, checked_expected
from lineside.daemon.rpc.desks import Desks, request_key
from lineside.daemon.rpc.errors import bad_field, not_found
from lineside.daemon.rpc.names import check_device, child_id, child_name
from lineside.daemon.rpc.paging import decode_token, encode_token, number_of, page_size
from lineside.daemon.rpc.recipes import recipe_and_version
from lineside.daemon.rpc.stations import station_of
from lineside.daemon.values import Verdict
from lineside.v1 import jobs_pb2, jobs_pb2_grpc

LONGEST_TEXT = 200
LONGEST_DESCRIPTION = 2000
MOST_PARTS = 10**12
EDITABLE = ("recipe", "material", "lot", "quantity", "expected", "description")


class JobService(jobs_pb2_grpc.JobServiceServicer):
    """Changes jobs through the board; holds no state."""

    def __init__(self, appliance: RunningAppliance, desks: Desks, clock: Clock) -> None:
        self._appliance = appliance
        self._board = desks.jobs
        self._desk = desks.desk
        self._clock = clock

    def CreateJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.CreateJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.CreateJobResponse:
        """Stores a job order, and starts it where that is asked for."""
        device = self._device()
        check_device(request.parent, device, "parent")
        given = request.job
        child_id(child_name(device, "jobs", given.job), "jobs", device, "job.job")
        state, _ = station_of(self._appliance, given.station, "job.station")
        made = self._edited(Job(given.job, state.station, self._clock.now()), given, EDITABLE)
        stored = self._board.create(made, request_key("job", request, request.request_id))
        if request.start and stored.state is JobState.ALLOWED_TO_START:
            stored = self._start(stored, "", None)
        return jobs_pb2.CreateJobResponse(job=_message(stored, device))

    def GetJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.GetJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.GetJobResponse:
        """One job with its counts."""
        return jobs_pb2.GetJobResponse(job=_message(self._job(request.name), self._device()))

    def ListJobs(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.ListJobsRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ListJobsResponse:
        """One page of jobs, newest first."""
        device = self._device()
        check_device(request.parent, device, "parent")
        station = child_id(request.station, "stations", device, "station") if request.station else None
        wanted = _state(request.state)
        arguments = {"list": "jobs", "state": str(wanted or ""), "station": station or ""}
        size = page_size(request.page_size)
        before = number_of(decode_token(request.page_token, arguments))
        found = self._desk.jobs(before, size + 1, wanted, station)
        page = found[:size]
        more = encode_token(str(page[-1].ordinal), arguments) if len(found) > size else ""
        return jobs_pb2.ListJobsResponse(jobs=[_message(one, device) for one in page], next_page_token=more)

    def UpdateJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.UpdateJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.UpdateJobResponse:
        """Changes the fields that the mask names."""
        given = request.job
        fields = tuple(request.update_mask.paths) or tuple(name for name in EDITABLE if getattr(given, name))
        for field in fields:
            if field not in EDITABLE:
                raise bad_field("update_mask", f"'{field}' cannot be changed: {', '.join(EDITABLE)} can")
        name = self._id(given.name, "job.name")
        edited: Callable[[Job], Job] = lambda job: self._edited(job, given, fields)  # noqa: E731
        edited(self._job(given.name))  # what is wrong with it is told before anything is written
        key = request_key(f"job/{name}", request, request.request_id)
        stored = self._board.update(name, edited, given.etag, key)
        return jobs_pb2.UpdateJobResponse(job=_message(stored, self._device()))

    def StartJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.StartJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.StartJobResponse:
        """Makes a job the one its station works on, by the job's recipe."""
        stored = self._start(self._job(request.name), request.etag, request)
        return jobs_pb2.StartJobResponse(job=_message(stored, self._device()))

    def PauseJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.PauseJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.PauseJobResponse:
        """Interrupts a running job."""
        return jobs_pb2.PauseJobResponse(job=self._moved(request, JobMove.PAUSE))

    def ResumeJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.ResumeJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.ResumeJobResponse:
        """Goes on with an interrupted job."""
        return jobs_pb2.ResumeJobResponse(job=self._moved(request, JobMove.RESUME))

    def StopJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.StopJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.StopJobResponse:
        """Ends a job as completed."""
        return jobs_pb2.StopJobResponse(job=self._moved(request, JobMove.STOP))

    def AbortJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.AbortJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.AbortJobResponse:
        """Ends a job as aborted."""
        return jobs_pb2.AbortJobResponse(job=self._moved(request, JobMove.ABORT))

    def DeleteJob(  # noqa: N802 - the contract's name
        self, request: jobs_pb2.DeleteJobRequest, context: grpc.ServicerContext
    ) -> jobs_pb2.DeleteJobResponse:
        """Removes a job that does not run."""
        self._desk.delete_job(self._id(request.name, "name"), request.etag)
        return jobs_pb2.DeleteJobResponse()

    def _device(self) -> str:
        return self._appliance.device().device

    def _id(self, name: str, field: str) -> str:
        return child_id(name, "jobs", self._device(), field)

    def _job(self, name: str) -> Job:
        job = self._id(name, "name")
        found = self._desk.get_job(job)
        if found is None:
            raise not_found("Job", name, f"no job '{job}' is stored")
        return found

    def _start(self, job: Job, etag: str, request: jobs_pb2.StartJobRequest | None) -> Job:
        key = None
        if request is not None:
            key = request_key(f"job/{job.job}", request, request.request_id)
        if job.recipe and job.state is JobState.ALLOWED_TO_START:
            recipe, version = recipe_and_version(job.recipe, self._device(), "job.recipe")
            self._appliance.activate_recipe(job.station, recipe, version)
        return self._board.move(job.job, JobMove.START, etag, key)

    def _moved(self, request: Any, move: JobMove) -> jobs_pb2.Job:
        name = self._id(request.name, "name")
        key = request_key(f"job/{name}", request, request.request_id)
        return _message(self._board.move(name, move, request.etag, key), self._device())

    def _edited(self, job: Job, given: jobs_pb2.Job, fields: tuple[str, ...]) -> Job:
        """The job with some fields of a message. Raises RpcFault for what cannot be."""
        if "recipe" in fields and given.recipe:
            recipe_and_version(given.recipe, self._device(), "job.recipe")
        for field in ("material", "lot"):
            text = getattr(given, field)
            if field in fields and (len(text) > LONGEST_TEXT or not text.isprintable()):
                raise bad_field(f"job.{field}", f"at most {LONGEST_TEXT} printable characters are wanted")
        if "description" in fields and len(given.description) > LONGEST_DESCRIPTION:
            raise bad_field("job.description", f"longer than {LONGEST_DESCRIPTION} characters")
        if "quantity" in fields and not 0 <= given.quantity <= MOST_PARTS:
            raise bad_field("job.quantity", f"{given.quantity} is not between 0 and {MOST_PARTS}")
        if "expected" in fields:
            if JOB_KEY in checked_expected(given.expected):
                raise bad_field("job.expected", f"'{JOB_KEY}' is the job's own id and cannot be set")
            if len(given.expected) > MOST_EXPECTED - 4:  # with lot, material, quantity and job it is a part's
                raise bad_field("job.expected", f"more than {MOST_EXPECTED - 4} entries")
        values: dict[str, Any] = {
            field: dict(given.expected) if field == "expected" else getattr(given, field) for field in fields
        }
        return replace(job, **values)


def _state(given: jobs_pb2.JobState.ValueType) -> JobState | None:
    if given == jobs_pb2.JOB_STATE_UNSPECIFIED:
        return None
    for state in JobState:
        if jobs_pb2.JobState.Value(f"JOB_STATE_{state.value}") == given:
            return state
    raise bad_field("state", f"{given} is no state of a job")


def _message(job: Job, device: str) -> jobs_pb2.Job:
    counts = {verdict: job.counts.get(verdict, 0) for verdict in Verdict}
    return jobs_pb2.Job(
        name=child_name(device, "jobs", job.job),
        job=job.job,
        station=child_name(device, "stations", job.station),
        recipe=job.recipe,
        material=job.material,
        lot=job.lot,
        quantity=job.quantity,
        expected=dict(job.expected),
        description=job.description,
        state=jobs_pb2.JobState.Value(f"JOB_STATE_{job.state.value}"),
        counts=jobs_pb2.JobCounts(
            judged=sum(counts.values()),
            ok=counts[Verdict.OK],
            not_ok=counts[Verdict.NOT_OK],
            not_decidable=counts[Verdict.NOT_DECIDABLE],
        ),
        create_time=convert.timestamp(job.created_at),
        start_time=convert.timestamp(job.started_at) if job.started_at is not None else None,
        end_time=convert.timestamp(job.ended_at) if job.ended_at is not None else None,
        etag=job.etag,
    )
