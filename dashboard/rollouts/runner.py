"""The thread `rollouts` and its few workers: does at devices what the rollouts in the database say is next.

One in the fleet: the process that holds the lease starts it. Holds nothing that is not in the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device
from lineside.dashboard.database.rollout_tables import EngineBundle
from lineside.dashboard.devices.steering import steering
from lineside.dashboard.reading.views import Contact, contact_of
from lineside.dashboard.rollouts import gates, ledger
from lineside.dashboard.rollouts.bundles import path_of
from lineside.dashboard.rollouts.calls import DeviceEngines
from lineside.dashboard.rollouts.gates import Plan
from lineside.dashboard.rollouts.machine import MOVING, DeviceState, Outcome
from lineside.dashboard.rollouts.steps import Ended, Step, carry_out

EVERY_S = 1.0
AGAIN_S = 5.0
WORKERS = 4

log = structlog.get_logger(__name__)


class _Halted(Exception):
    """The rollout was stopped, or this process is ending: a transfer breaks off and is resumed later."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A step that is due at a device."""

    rollout: int
    device_id: int
    device: str
    address: Address
    state: DeviceState
    digest: str
    bundle: str
    plan: Plan
    before: str
    attempt: int
    since: int
    began_at: datetime
    away: bool


class Runner:
    """`start` and `stop` it; `look` is one round, for tests. `again_s`: how soon a step is tried again."""

    def __init__(
        self,
        database: Database,
        config: DashboardConfig,
        now: Callable[[], datetime],
        *,
        every_s: float = EVERY_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._database, self._config, self._now = database, config, now
        self._every_s, self._again_s = every_s, again_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[tuple[int, int]] = set()
        self._going: set[int] = set()
        self._due: dict[tuple[int, int], datetime] = {}
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="rollout")
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; a transfer breaks off, a call that is made is waited for."""
        self._stop.set()
        self._thread.join(10.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self.look()
            except SQLAlchemyError as error:
                log.error("rollouts not read from the database; trying again", error=str(error)[:300])
            except Exception:
                # The loop's edge: other rollouts must go on whatever one of them did.
                log.exception("rollouts stand still")

    def look(self) -> None:
        """Moves every rollout on as far as it goes without a device, and begins the steps that are due."""
        with self._database.reading() as session:
            if not ledger.at_work(session):
                self._going.clear()
                return
        due: list[_Work] = []
        with self._database.writing() as session:
            now = self._now()
            devices = {row.id: row for row in session.scalars(select(Device))}
            silent_after = self._config.silent_after(len(devices))
            away = {
                row.id
                for row in devices.values()
                if contact_of(row.heard_at, row.watch_heard_at, now, silent_after)[0] is not Contact.LIVE
            }
            going = set()
            for rollout in ledger.at_work(session):
                ledger.advance(session, rollout, away, now)
                if rollout.state not in ("running", "rolling_back"):
                    continue
                going.add(rollout.id)
                plan = Plan.read(rollout.plan)
                for member, row in ledger.members(session, rollout.id, away):
                    device = devices[member.device_id]
                    if member.state in MOVING:
                        due.append(
                            _Work(
                                rollout.id, device.id, device.device, Address.parse(device.address),
                                member.state, rollout.digest, rollout.bundle, plan, row.before, row.attempt,
                                row.since, row.changed_at, member.away,
                            )
                        )  # fmt: skip
            self._going = going
        for work in due:
            self._begin(work, now)

    def _begin(self, work: _Work, now: datetime) -> None:
        key = (work.rollout, work.device_id)
        with self._lock:
            if key in self._busy or self._due.get(key, now) > now or self._stop.is_set():
                return
            self._busy.add(key)
        self._pool.submit(self._do, key, work)

    def _do(self, key: tuple[int, int], work: _Work) -> None:
        try:
            ended = self._step(work)
            self._keep(work, ended)
            if ended.outcome is not Outcome.DONE:
                log.info("rollout step", device=work.device, step=work.state.value, why=ended.why)
        except _Halted:
            log.info("rollout step broken off", device=work.device, step=work.state.value)
            ended = Ended(Outcome.AGAIN)
        except Exception:
            # The worker's edge: a fault of ours fails no engine; the step is tried again and said aloud.
            log.exception("rollout step failed", device=work.device, step=work.state.value)
            ended = Ended(Outcome.AGAIN)
        finally:
            with self._lock:
                self._busy.discard(key)
        with self._lock:
            if ended.outcome is Outcome.DONE:
                self._due.pop(key, None)
            else:
                self._due[key] = datetime.fromtimestamp(
                    self._now().timestamp() + self._again_s, tz=self._now().tzinfo
                )

    def _step(self, work: _Work) -> Ended:
        step = Step(
            work.state,
            work.digest,
            work.before,
            f"rollout-{work.rollout}-{work.device_id}-{work.state.value}-{work.attempt}",
            work.plan.only_trusted,
        )
        bundle = path_of(self._config.bundles or Path(), work.bundle)
        if work.state is DeviceState.INSTALLING and not bundle.is_file():
            return Ended(Outcome.FAILED, f"the bundle {bundle.name[:12]}… is not in the folder of bundles")
        try:
            with steering(work.address, self._config.device_tls, patient=True) as client:
                calls = DeviceEngines(client, bundle, lambda _sent, _size: self._halt(work))
                inspect = gates.inspector(client, step.request_id)
                return carry_out(step, calls, lambda: self._gate(work, inspect))
        except OSError as error:
            return Ended(Outcome.AGAIN, f"cannot be read: {error}"[:300])

    def _gate(self, work: _Work, inspect: Callable[[gates.Golden], str]) -> Ended:
        with self._database.reading() as session:
            health = gates.health_of(
                session, work.device_id, work.digest, work.since, work.began_at, self._now(), work.away
            )
            parts = gates.golden_parts(session, work.device_id) if work.plan.golden else []
        ended = gates.judge(health, work.plan)
        if ended.outcome is Outcome.FAILED or health.away or not health.runs_it:
            return ended
        # Asked again at each look under the same ids: the device answers the same and judges none twice.
        golden = gates.judge_golden(parts, inspect, self._stop.is_set)
        return golden if golden.outcome is not Outcome.DONE else ended

    def _halt(self, work: _Work) -> None:
        if self._stop.is_set() or work.rollout not in self._going:
            raise _Halted

    def _keep(self, work: _Work, ended: Ended) -> None:
        with self._database.writing() as session:
            for member, row in ledger.members(session, work.rollout, ()):
                if member.device_id == work.device_id:
                    device = session.get(Device, work.device_id)
                    last = device.last_sequence if device is not None else 0
                    ledger.note(session, work.rollout, work.state, row, ended, last, self._now())
            if ended.signature:
                session.execute(
                    update(EngineBundle)
                    .where(EngineBundle.digest == work.digest)
                    .values(signature=ended.signature[:32], signature_by=work.device[:200])
                )
