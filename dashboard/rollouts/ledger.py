"""Rollouts in the database: begun, stopped and taken back by people, moved on by the runner.

Each move compares and swaps: of two who would move a device, one does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lineside.dashboard.database.fleet_tables import Device, ExpectedVersion
from lineside.dashboard.database.rollout_tables import EngineBundle
from lineside.dashboard.database.steering_tables import Rollout, RolloutDevice
from lineside.dashboard.people import audit
from lineside.dashboard.rollouts import machine
from lineside.dashboard.rollouts.gates import Plan
from lineside.dashboard.rollouts.machine import AT_WORK, OVER, DeviceState, Member, Move, RolloutState
from lineside.dashboard.rollouts.steps import Ended

RUNNER = "rollout runner"


class RefusedRollout(ValueError):
    """A rollout that cannot be begun or changed so; `key` names the words that say why."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def begin(
    session: Session, bundle: EngineBundle, waves: Mapping[int, int], plan: Plan, *, user: int, by: str,
    at: datetime,
) -> Rollout:  # fmt: skip
    """A rollout of a bundle to devices, each in its wave.

    Raises:
        RefusedRollout: no devices, or one that another rollout is changing.
    """
    if not waves:
        raise RefusedRollout("rollout_no_devices")
    busy = session.scalars(
        select(RolloutDevice.device_id)
        .join(Rollout, Rollout.id == RolloutDevice.rollout)
        .where(Rollout.state.not_in([state.value for state in OVER]))
    ).all()
    if set(busy) & set(waves):
        raise RefusedRollout("rollout_busy")
    made = Rollout(
        kind="engine",
        subject=f"{bundle.name}@{bundle.version}"[:200],
        digest=bundle.digest,
        bundle=bundle.sha256,
        plan=plan.write(),
        state=RolloutState.RUNNING.value,
        created_by=user,
        created_at=at,
    )
    session.add(made)
    session.flush()
    for device, wave in waves.items():
        session.add(
            RolloutDevice(
                rollout=made.id,
                device_id=device,
                wave=wave,
                state=DeviceState.WAITING.value,
                before="",
                attempt=0,
                since=0,
                changed_at=at,
            )
        )
    told = {"engine": made.subject, "digest": made.digest, "devices": len(waves), **plan.write()}
    audit.note(session, at, by, "rollout.begin", f"rollout {made.id}", told)
    return made


def turn(
    session: Session, rollout: Rollout, to: RolloutState, allowed: Collection[RolloutState], why: str,
    *, by: str, at: datetime,
) -> None:  # fmt: skip
    """Stops a rollout, lets it go on, or takes it back.

    Raises:
        RefusedRollout: it is not in a state of which that can be asked.
    """
    swapped = session.execute(
        update(Rollout)
        .where(Rollout.id == rollout.id, Rollout.state.in_([state.value for state in allowed]))
        .values(state=to.value, why=why, ended_at=at if to in OVER else None)
        .execution_options(synchronize_session=False)
    )
    if swapped.rowcount != 1:  # type: ignore[attr-defined]
        raise RefusedRollout("rollout_moved_on")
    session.expire(rollout)
    audit.note(session, at, by, f"rollout.{to.value}", f"rollout {rollout.id}", {"why": why})


def members(session: Session, rollout: int, away: Collection[int]) -> list[tuple[Member, RolloutDevice]]:
    """The devices of a rollout and how far they are, by wave."""
    rows = session.scalars(
        select(RolloutDevice)
        .where(RolloutDevice.rollout == rollout)
        .order_by(RolloutDevice.wave, RolloutDevice.device_id)
    )
    return [
        (Member(row.device_id, row.wave, DeviceState(row.state), row.device_id in away), row) for row in rows
    ]


def advance(session: Session, rollout: Rollout, away: Collection[int], at: datetime) -> None:
    """Makes every move that needs no device, and ends the rollout when it is over."""
    listed = members(session, rollout.id, away)
    state = RolloutState(rollout.state)
    to, moves = machine.following(state, [member for member, _ in listed])
    for move in moves:
        _swap(session, rollout.id, move, at, attempt=0)
    if to is not state:
        failed = [row for member, row in listed if member.state is DeviceState.FAILED]
        why = rollout.why or (_why(session, failed) if to is RolloutState.ROLLING_BACK else "")
        turn(session, rollout, to, [state], why, by=RUNNER, at=at)
        if to is RolloutState.DONE:
            _expect(session, rollout, at)


def note(session: Session, rollout: int, state: DeviceState, row: RolloutDevice, ended: Ended,
         last_sequence: int, at: datetime) -> None:  # fmt: skip
    """Keeps how a device's step ended, if it still is where the step began."""
    to = machine.after(state, ended.outcome)
    values: dict[str, object] = {"detail": ended.why[:2000]}
    if ended.before:
        values["before"] = ended.before
    if to is DeviceState.WATCHING and state is not to:
        values["since"] = last_sequence
    # The same step goes on under the same id; after a refusal it is asked for as a new one.
    refused = ended.outcome is machine.Outcome.FAILED
    attempt = 0 if to is not state else row.attempt + 1 if refused else row.attempt
    _swap(session, rollout, Move(row.device_id, state, to), at, attempt=attempt, **values)


def _swap(session: Session, rollout: int, move: Move, at: datetime, **values: object) -> None:
    if move.to is not move.before:
        values["changed_at"] = at
    session.execute(
        update(RolloutDevice)
        .where(RolloutDevice.rollout == rollout, RolloutDevice.device_id == move.device_id)
        .where(RolloutDevice.state == move.before.value)
        .values(state=move.to.value, **values)
        .execution_options(synchronize_session=False)
    )


def at_work(session: Session) -> Sequence[Rollout]:
    """Rollouts that go on by themselves, oldest first."""
    wanted = [state.value for state in AT_WORK]
    return session.scalars(select(Rollout).where(Rollout.state.in_(wanted)).order_by(Rollout.id)).all()


def _why(session: Session, failed: Sequence[RolloutDevice]) -> str:
    named = dict(
        session.execute(
            select(Device.id, Device.device).where(Device.id.in_([r.device_id for r in failed]))
        ).all()
    )
    return "; ".join(f"{named.get(row.device_id, '?')}: {row.detail}" for row in failed)[:2000]


def _expect(session: Session, rollout: Rollout, at: datetime) -> None:
    """Every device should run it from now on, if every device was in the rollout."""
    everywhere = session.scalar(
        select(Device.id).where(
            Device.id.not_in(select(RolloutDevice.device_id).where(RolloutDevice.rollout == rollout.id))
        )
    )
    if everywhere is not None:
        return
    name, _, version = rollout.subject.rpartition("@")
    found = session.scalars(
        select(ExpectedVersion).where(
            ExpectedVersion.kind == "engine", ExpectedVersion.name == name, ExpectedVersion.label == ""
        )
    ).one_or_none()
    if found is None:
        found = ExpectedVersion(kind="engine", name=name, label="")
        session.add(found)
    found.digest, found.version, found.set_at = rollout.digest, version, at
    found.note = f"rollout {rollout.id}"
