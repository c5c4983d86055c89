"""Rollouts as a state machine: whatever fails, is away or is killed, none is left between two engines."""

from __future__ import annotations

import grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.dashboard.rollouts import machine
from lineside.dashboard.rollouts.gates import Health, Plan, judge, waves_of
from lineside.dashboard.rollouts.machine import DeviceState, Member, Outcome, RolloutState
from lineside.dashboard.rollouts.steps import Ended, Installed, Step, carry_out
from lineside.v1.client import Failed

NEW, OLD = "b" * 64, "a" * 64


class Killed(Exception):
    """The process that follows was killed in the middle of a step."""


class Box:
    """A device's slots, and when the other side is killed: before a call takes effect, or after it."""

    def __init__(self, wave: int, refuses: str) -> None:
        self.wave, self.refuses = wave, refuses
        self.slots = {"active": OLD}
        self.kill = ""
        self.activated = 0

    def engines(self) -> list[Installed]:
        return [Installed(digest, slot, "trusted") for slot, digest in self.slots.items()]

    def install(self) -> Installed:
        self._before()
        if self.refuses == "install":
            raise Failed(grpc.StatusCode.INVALID_ARGUMENT, "DAMAGED", "a file is damaged", {})
        self.slots["staged"] = NEW
        self._after()
        return Installed(NEW, "staged", "trusted")

    def activate(self, digest: str, request_id: str) -> None:
        self._before()
        if digest == NEW and self.refuses == "activate":
            raise Failed(grpc.StatusCode.FAILED_PRECONDITION, "SELFTEST", "its self-test failed", {})
        slots = {slot: held for slot, held in self.slots.items() if held != digest and slot != "active"}
        self.slots = {**slots, "previous": self.slots["active"], "active": digest}
        self.activated += 1
        self._after()

    def gate(self) -> Ended:
        return Ended(Outcome.FAILED if self.refuses == "gate" else Outcome.DONE, "too many in doubt")

    def _before(self) -> None:
        if self.kill == "before":
            raise Killed

    def _after(self) -> None:
        if self.kill == "after":
            raise Killed


class Played:
    """A rollout over boxes; what would be in the database is `state` and `states`."""

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = boxes
        self.state = RolloutState.RUNNING
        self.states = [DeviceState.WAITING for _ in boxes]
        self.before = ["" for _ in boxes]

    def members(self, away: frozenset[int]) -> list[Member]:
        return [Member(n, box.wave, self.states[n], n in away) for n, box in enumerate(self.boxes)]

    def look(self, away: frozenset[int] = frozenset()) -> None:
        self.state, moves = machine.following(self.state, self.members(away))
        for move in moves:
            assert self.states[move.device_id] is move.before
            self.states[move.device_id] = move.to

    def step(self, n: int, *, away: bool = False, kill: str = "") -> None:
        state, box = self.states[n], self.boxes[n]
        if state not in machine.MOVING or self.state not in machine.AT_WORK or away:
            return
        box.kill = kill
        try:
            ended = carry_out(Step(state, NEW, self.before[n], "id", True), box, box.gate)
        except Killed:
            return  # nothing was noted: the next process finds the state of before
        finally:
            box.kill = ""
        self.before[n] = ended.before or self.before[n]
        self.states[n] = machine.after(state, ended.outcome)

    def settle(self) -> None:
        for _ in range(200):
            self.look()
            for n in range(len(self.boxes)):
                self.step(n)


boxes = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "install", "activate", "gate"])),
    min_size=1,
    max_size=6,
)
events = st.lists(
    st.tuples(
        st.sampled_from(["look", "step", "stop", "go on", "take back"]),
        st.integers(0, 5),
        st.frozensets(st.integers(0, 5), max_size=3),
        st.sampled_from(["", "before", "after"]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(boxes=boxes, events=events)
def test_whatever_happens_every_device_ends_with_the_new_engine_or_with_the_one_before(
    boxes: list[tuple[int, str]], events: list[tuple[str, int, frozenset[int], str]]
) -> None:
    played = Played([Box(wave, refuses) for wave, refuses in boxes])
    for what, n, away, kill in events:
        if what == "look":
            played.look(away)
        elif what == "step" and n < len(boxes):
            changed = played.boxes[n].activated
            open_wave = machine.open_wave(played.members(away))
            played.step(n, away=n in away, kill=kill)
            if played.state is RolloutState.STOPPED:
                assert played.boxes[n].activated == changed, "a stopped rollout changed a device"
            if played.boxes[n].activated > changed and played.state is RolloutState.RUNNING:
                assert played.boxes[n].wave <= open_wave or away, "a device was changed before its wave"
        elif what == "stop" and played.state is RolloutState.RUNNING:
            played.state = RolloutState.STOPPED
        elif what == "go on" and played.state is RolloutState.STOPPED:
            played.state = RolloutState.RUNNING
        elif what == "take back" and played.state in (RolloutState.RUNNING, RolloutState.STOPPED):
            played.state = RolloutState.ROLLING_BACK
    if played.state is RolloutState.STOPPED:
        played.state = RolloutState.RUNNING

    played.settle()

    active = {box.slots["active"] for box in played.boxes}
    assert played.state in machine.OVER
    assert active == ({NEW} if played.state is RolloutState.DONE else {OLD})
    if any(refuses for _, refuses in boxes):
        assert played.state is RolloutState.ROLLED_BACK


def test_a_failing_canary_is_taken_back_and_nobody_else_was_touched() -> None:
    played = Played([Box(0, "gate"), Box(1, ""), Box(1, "")])

    played.settle()

    assert played.state is RolloutState.ROLLED_BACK
    assert [box.activated for box in played.boxes] == [2, 0, 0]
    assert played.states[1:] == [DeviceState.WAITING, DeviceState.WAITING]


def test_a_device_that_was_away_does_not_hold_up_the_others_and_catches_up() -> None:
    played = Played([Box(0, ""), Box(1, ""), Box(2, "")])
    away = frozenset({1})
    for _ in range(20):
        played.look(away)
        for n in (0, 2):
            played.step(n)
    assert [box.slots["active"] for box in played.boxes] == [NEW, OLD, NEW]
    assert played.state is RolloutState.RUNNING

    played.settle()

    assert played.state is RolloutState.DONE
    assert played.boxes[1].slots["active"] == NEW


def test_a_stopped_rollout_moves_nothing_whatever_its_devices_are_at() -> None:
    members = [Member(n, n % 3, state) for n, state in enumerate(DeviceState)]
    for state in (RolloutState.STOPPED, *machine.OVER):
        assert machine.following(state, members) == (state, [])


def test_a_canary_that_is_away_proves_nothing() -> None:
    played = Played([Box(0, ""), Box(1, "")])
    for _ in range(5):
        played.look(frozenset({0}))
        played.step(1)
    assert played.states == [DeviceState.WAITING, DeviceState.WAITING]


def test_an_engine_that_nobody_vouches_for_is_not_activated() -> None:
    class Unsigned(Box):
        def install(self) -> Installed:
            return Installed(NEW, "staged", "unsigned")

    step = Step(DeviceState.INSTALLING, NEW, "", "id", True)
    ended = carry_out(step, Unsigned(0, ""), lambda: Ended(Outcome.DONE))
    assert (ended.outcome, "unsigned" in ended.why) == (Outcome.FAILED, True)


PLAN = Plan(watch_s=60, min_results=20, max_review=0.1)


def health(**changes: object) -> Health:
    told = {
        "away": False,
        "runs_it": True,
        "failed": False,
        "watched_s": 61.0,
        "results": 20,
        "undecidable": 2,
    }
    return Health(**{**told, **changes})  # type: ignore[arg-type]


def test_the_health_gate_waits_for_time_and_results_and_fails_as_soon_as_it_must() -> None:
    assert judge(health(), PLAN).outcome is Outcome.DONE
    assert judge(health(watched_s=59.0), PLAN).outcome is Outcome.AGAIN
    assert judge(health(results=19, undecidable=0), PLAN).outcome is Outcome.AGAIN
    assert judge(health(away=True, failed=True), PLAN).outcome is Outcome.AGAIN
    assert judge(health(failed=True), PLAN).outcome is Outcome.FAILED
    assert judge(health(runs_it=False, watched_s=61.0), PLAN).outcome is Outcome.FAILED
    assert judge(health(runs_it=False, watched_s=5.0), PLAN).outcome is Outcome.AGAIN
    early = judge(health(results=3, undecidable=3, watched_s=1.0), PLAN)
    assert (early.outcome, early.why[:6]) == (Outcome.FAILED, "3 of 3")


def test_the_first_devices_are_the_canaries() -> None:
    assert waves_of([7, 8, 9, 10, 11], 1, 2) == {7: 0, 8: 1, 9: 1, 10: 2, 11: 2}
