"""What comes next in a rollout: pure functions of how far each device is. Knows no database and no device.

Waves go in order; the first is the canary. A wave begins when every device of those before runs the engine,
but one that is away does not hold up the others: it catches up when it is back. One failure takes all back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class RolloutState(StrEnum):
    """Where a rollout is."""

    RUNNING = "running"
    STOPPED = "stopped"  # by a person: nothing new is begun, nothing is taken back
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    DONE = "done"


class DeviceState(StrEnum):
    """Where a device of a rollout is."""

    WAITING = "waiting"
    INSTALLING = "installing"
    STAGED = "staged"
    ACTIVATING = "activating"
    WATCHING = "watching"  # it judges with the engine, and the gates have not said yes
    ACTIVE = "active"
    FAILED = "failed"
    REVERTING = "reverting"
    ROLLED_BACK = "rolled_back"


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    FAILED = "failed"
    AGAIN = "again"  # the device is away, or it is too early to tell


MOVING = (DeviceState.INSTALLING, DeviceState.ACTIVATING, DeviceState.WATCHING, DeviceState.REVERTING)
"""States in which there is something to do at the device."""
CHANGED = (DeviceState.ACTIVATING, DeviceState.WATCHING, DeviceState.ACTIVE, DeviceState.FAILED)
"""States in which the device may judge with the new engine."""
AT_WORK = (RolloutState.RUNNING, RolloutState.ROLLING_BACK)
OVER = (RolloutState.ROLLED_BACK, RolloutState.DONE)

_AFTER = {
    DeviceState.INSTALLING: DeviceState.STAGED,
    DeviceState.ACTIVATING: DeviceState.WATCHING,
    DeviceState.WATCHING: DeviceState.ACTIVE,
    DeviceState.REVERTING: DeviceState.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a rollout. `away`: it does not answer now."""

    device_id: int
    wave: int
    state: DeviceState
    away: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A device goes on to another state."""

    device_id: int
    before: DeviceState
    to: DeviceState


def after(state: DeviceState, outcome: Outcome) -> DeviceState:
    """Where a device is when the step of its state has ended so."""
    if outcome is Outcome.DONE:
        return _AFTER[state]
    # Taking back is never given up: a device that cannot be taken back now is tried again.
    if outcome is Outcome.FAILED and state is not DeviceState.REVERTING:
        return DeviceState.FAILED
    return state


def following(state: RolloutState, members: Sequence[Member]) -> tuple[RolloutState, list[Move]]:
    """The rollout's next state, and the moves that need no device."""
    if state is RolloutState.RUNNING:
        if any(member.state is DeviceState.FAILED for member in members):
            return RolloutState.ROLLING_BACK, _take_back(members)
        if all(member.state is DeviceState.ACTIVE for member in members):
            return RolloutState.DONE, []
        return state, _go_on(members)
    if state is RolloutState.ROLLING_BACK:
        moves = _take_back(members)
        if not moves and all(member.state is not DeviceState.REVERTING for member in members):
            return RolloutState.ROLLED_BACK, []
        return state, moves
    return state, []


def open_wave(members: Iterable[Member]) -> int:
    """The last wave whose devices may be changed now."""
    waves: dict[int, list[Member]] = {}
    for member in members:
        waves.setdefault(member.wave, []).append(member)
    for wave in sorted(waves):
        runs = any(member.state is DeviceState.ACTIVE for member in waves[wave])
        held_up = any(
            member.state is not DeviceState.ACTIVE
            and not (member.away and member.state is DeviceState.WAITING)
            for member in waves[wave]
        )
        # A canary that is away proves nothing: the first wave wants one that runs.
        if held_up or (wave == min(waves) and not runs):
            return wave
    return max(waves, default=0)


def _go_on(members: Sequence[Member]) -> list[Move]:
    last = open_wave(members)
    begin = {DeviceState.WAITING: DeviceState.INSTALLING, DeviceState.STAGED: DeviceState.ACTIVATING}
    return [
        Move(member.device_id, member.state, begin[member.state])
        for member in members
        if member.wave <= last and member.state in begin and not member.away
    ]


def _take_back(members: Sequence[Member]) -> list[Move]:
    moves = [
        Move(member.device_id, member.state, DeviceState.REVERTING)
        for member in members
        if member.state in CHANGED
    ]
    return moves + [
        Move(member.device_id, member.state, DeviceState.WAITING)
        for member in members
        if member.state is DeviceState.INSTALLING
    ]
