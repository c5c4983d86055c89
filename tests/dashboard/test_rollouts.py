"""Engines on their way to devices over real sockets: bundles checked, canaries taken back, kills survived."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select

from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.fleet_tables import Device, ExpectedVersion
from lineside.dashboard.database.people_tables import Audit
from lineside.dashboard.database.rollout_tables import EngineBundle
from lineside.dashboard.database.steering_tables import Rollout, RolloutDevice
from lineside.dashboard.ingest import owner
from lineside.dashboard.ingest.owner import Following
from lineside.dashboard.people import accounts
from lineside.dashboard.people.rights import Role
from lineside.dashboard.rollouts import bundles, ledger
from lineside.dashboard.rollouts.gates import Plan
from lineside.dashboard.rollouts.machine import RolloutState
from lineside.dashboard.rollouts.runner import Runner

CAREFUL = Plan(watch_s=0.5, min_results=3, max_review=0.2, only_trusted=False)


class Plant:
    """Simulated devices, followed, with an uploaded bundle."""

    def __init__(self, database: Database, folder: Path, simulated: ModuleType, *plans: Any) -> None:
        self.fleet = simulated.SimulatedFleet(*plans)
        self.database = database
        self.config = DashboardConfig(
            devices=tuple(Address("127.0.0.1", device.port) for device in self.fleet.devices),
            bundles=folder,
            silent_after_s=2.0,
            probe_every_s=0.2,
        )
        self.following = Following(database, self.config, utc_now)
        self.following.__enter__()
        self.following.look()
        data = simulated.write_bundle(folder / "new.lsengine")
        self.bundle = bundles.receive(folder, io.BytesIO(data), len(data))
        with database.writing() as session:
            at = utc_now()
            self.user = accounts.add(session, "ana", Role.ADMIN, None, by="test", at=at).id
            session.add(
                EngineBundle(
                    sha256=self.bundle.sha256, digest=self.bundle.digest, name="caps", version="2",
                    manifest=dict(self.bundle.manifest), size_bytes=self.bundle.size_bytes,
                    signature="", signature_by="", uploaded_by=self.user, uploaded_at=at,
                )
            )  # fmt: skip

    def close(self) -> None:
        self.following.__exit__()
        self.fleet.close()

    def live(self) -> bool:
        with self.database.reading() as session:
            rows = session.scalars(select(Device)).all()
            return all(r.heard_at is not None and r.watch_heard_at is not None for r in rows)

    def begin(self, plan: Plan = CAREFUL) -> int:
        with self.database.writing() as session:
            ids = {row.device: row.id for row in session.scalars(select(Device))}
            waves = {ids[name]: n for n, name in enumerate(sorted(ids))}
            bundle = session.get_one(EngineBundle, self.bundle.sha256)
            made = ledger.begin(session, bundle, waves, plan, user=self.user, by="ana", at=utc_now())
            return made.id

    def rollout(self, number: int) -> Rollout:
        with self.database.reading() as session:
            return session.get_one(Rollout, number)

    def states(self, number: int) -> list[str]:
        with self.database.reading() as session:
            rows = select(RolloutDevice).where(RolloutDevice.rollout == number).order_by(RolloutDevice.wave)
            return [row.state for row in session.scalars(rows)]

    def actions(self) -> list[str]:
        with self.database.reading() as session:
            return [row.action for row in session.scalars(select(Audit).order_by(Audit.id))]

    def active(self) -> list[bool]:
        """Whether each device judges with the new engine."""
        return [device.engines.active.digest == self.bundle.digest for device in self.fleet.devices]


@contextmanager
def plants(
    database: Database, folder: Path, simulated: ModuleType, wait_until: Any
) -> Iterator[Callable[..., Plant]]:
    made: list[Plant] = []

    def make(*plans: Any) -> Plant:
        made.append(Plant(database, folder, simulated, *plans))
        wait_until(made[-1].live, "the devices are live")
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, "Runner", partial(Runner, every_s=0.1, again_s=0.2))
        yield make
        for one in made:
            one.close()


@pytest.fixture
def plant(
    sqlite_database: Database, tmp_path: Path, simulated: ModuleType, wait_until: Any
) -> Iterator[Callable[..., Plant]]:
    with plants(sqlite_database, tmp_path, simulated, wait_until) as make:
        yield make


@pytest.fixture
def plant_on_both(
    database: Database, tmp_path: Path, simulated: ModuleType, wait_until: Any
) -> Iterator[Callable[..., Plant]]:
    with plants(database, tmp_path, simulated, wait_until) as make:
        yield make


def test_an_engine_goes_to_every_device_in_turn_and_is_expected_there(
    plant: Callable[..., Plant], simulated: ModuleType, wait_until: Any
) -> None:
    here = plant(simulated.plan(1), simulated.plan(2))
    number = here.begin()
    wait_until(lambda: here.rollout(number).state == "done", "the rollout is done")
    assert here.active() == [True, True]
    assert here.actions()[-2:] == ["rollout.begin", "rollout.done"]
    with here.database.reading() as session:
        expected = session.scalars(select(ExpectedVersion)).one()
        assert (expected.name, expected.version, expected.digest) == ("caps", "2", here.bundle.digest)
        assert session.get_one(EngineBundle, here.bundle.sha256).signature == "unsigned"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [("judge", "could not be decided"), ("activate", "self-test failed"), ("install", "damaged")],
)
def test_a_failing_canary_is_taken_back_and_the_others_are_never_touched(
    plant: Callable[..., Plant], simulated: ModuleType, wait_until: Any, trouble: str, says: str
) -> None:
    here = plant(simulated.plan(1, engine_trouble=trouble), simulated.plan(2))
    number = here.begin()
    wait_until(lambda: here.rollout(number).state == "rolled_back", "it is rolled back")
    assert says in here.rollout(number).why
    assert here.active() == [False, False]
    assert here.states(number) == ["rolled_back", "waiting"]
    assert len(here.fleet.devices[1].engines.engines) == 1
    assert here.actions()[-3:] == ["rollout.begin", "rollout.rolling_back", "rollout.rolled_back"]


def test_an_unsigned_engine_is_refused_where_a_trusted_one_is_wanted(
    plant: Callable[..., Plant], simulated: ModuleType, wait_until: Any
) -> None:
    here = plant(simulated.plan(1))
    number = here.begin(replace(CAREFUL, only_trusted=True))
    wait_until(lambda: here.rollout(number).state == "rolled_back", "it is rolled back")
    assert "unsigned" in here.rollout(number).why
    assert here.active() == [False]


def test_a_device_that_was_away_catches_up_and_a_killed_runner_is_followed_by_another(
    plant_on_both: Callable[..., Plant], simulated: ModuleType, wait_until: Any
) -> None:
    here = plant_on_both(simulated.plan(1), simulated.plan(2))
    here.fleet.stop_one(1)
    number = here.begin()
    wait_until(lambda: here.states(number)[0] == "active", "the canary runs it")
    # Another process takes over in the middle; nothing was handed from one to the other.
    here.following.__exit__()
    here.following = Following(here.database, here.config, utc_now)
    here.following.__enter__()
    here.following.look()
    assert here.rollout(number).state == "running"

    here.fleet.start_one(1)
    wait_until(lambda: here.rollout(number).state == "done", "the other one caught up")
    assert here.active() == [True, True]


def test_stopped_it_stands_still_and_taken_back_nothing_is_left(
    plant: Callable[..., Plant], simulated: ModuleType, wait_until: Any
) -> None:
    here = plant(simulated.plan(1), simulated.plan(2))
    number = here.begin(replace(CAREFUL, watch_s=3600.0))
    wait_until(lambda: here.states(number)[0] == "watching", "the canary is watched")

    def turn(to: RolloutState, *allowed: RolloutState) -> None:
        with here.database.writing() as session:
            ledger.turn(session, session.get_one(Rollout, number), to, allowed, "", by="ana", at=utc_now())

    turn(RolloutState.STOPPED, RolloutState.RUNNING)
    Runner(here.database, here.config, utc_now).look()
    assert here.states(number) == ["watching", "waiting"]
    with pytest.raises(ledger.RefusedRollout):
        turn(RolloutState.STOPPED, RolloutState.RUNNING)
    with pytest.raises(ledger.RefusedRollout):
        here.begin()  # its devices are still in this one

    turn(RolloutState.ROLLING_BACK, RolloutState.STOPPED)
    wait_until(lambda: here.rollout(number).state == "rolled_back", "it is rolled back")
    assert here.active() == [False, False]


def test_what_is_no_whole_bundle_is_refused_and_leaves_nothing(tmp_path: Path, simulated: ModuleType) -> None:
    folder = tmp_path / "bundles"
    good = simulated.write_bundle(tmp_path / "good")
    bad = simulated.write_bundle(tmp_path / "bad", damaged=True)
    for data, size, says in (
        (bad, len(bad), "damaged"),
        (good[:-20], len(good) - 20, ".lsengine"),
        (good, len(good) + 1, "cut off"),
        (b"GIF89a", 6, ".lsengine"),
        (good, bundles.LARGEST_BUNDLE + 1, "between"),
    ):
        with pytest.raises(bundles.RefusedBundle, match=says):
            bundles.receive(folder, io.BytesIO(data), size)
    assert list(folder.iterdir()) == []
    kept = bundles.receive(folder, io.BytesIO(good), len(good))
    assert [path.name for path in folder.iterdir()] == [f"{kept.sha256}.lsengine"]
