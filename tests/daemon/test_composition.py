"""The appliance put together: pictures handed in, triggers from outside, recipes changed, restarts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from lineside.daemon.clock import SystemClock
from lineside.daemon.composition import Running, running
from lineside.daemon.jobs import Job, JobMove
from lineside.daemon.ports import NotReady, UnknownName
from lineside.daemon.recipes.shelf import Shelf
from lineside.daemon.settings import Settings
from lineside.daemon.store.desk import Desk
from lineside.daemon.values import Picture, ReasonCode, TriggerKind, Verdict
from lineside.engines.demo.station import line_frames
from lineside.engines.demo.truth import PartTruth

WAIT_S = 60.0
RECIPE = (files("lineside.daemon.demo") / "tray-check.yaml").read_text().partition("gates:")[0]
GOOD = PartTruth("ok", 6, "K48211", True)
CAPLESS = PartTruth("missing", 6, "K48211", True, severity=1.0)


@pytest.fixture(scope="session")
def picture_of() -> Callable[[PartTruth], Picture]:
    """A frame with one whole part near its middle."""

    def draw(truth: PartTruth) -> Picture:
        rng = np.random.default_rng(4)
        for frame, visible in line_frames([truth], rng, speed_px=60, pitch_px=600):
            if any(abs(part.offset) <= 30 for part in visible):
                return np.asarray(frame, dtype=np.uint8)
        raise AssertionError("the part never came to the middle")

    return draw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recipes that differ in their name, and one that asks what the demo engine never learnt."""
    (tmp_path / "tray.yaml").write_text(RECIPE.replace("camera: cam1", "camera: null"))
    (tmp_path / "strict.yaml").write_text(
        RECIPE.replace("camera: cam1", "camera: null")
        .replace("recipe: tray-check", "recipe: tray-strict")
        .replace("expect: {equals: 6}", "expect: {equals: 5}")
    )
    (tmp_path / "strange.yaml").write_text(
        RECIPE.replace("camera: cam1", "camera: null")
        .replace("recipe: tray-check", "recipe: strange")
        .replace("Read the lot code on the label.", "What colour is the sky?")
    )
    return tmp_path


@contextmanager
def appliance(folder: Path, *, recipe: str = "tray.yaml", bundle: str | None = None) -> Iterator[Running]:
    settings = Settings.model_validate(
        {
            "device": {"id": "box1", "data_dir": str(folder / "data")},
            "engine": {"bundle": bundle},
            "cameras": [{"id": "hand", "kind": "push"}],
            "stations": [
                {"id": name, "camera": "hand", "recipe": str(folder / file), "trigger": {"kind": "grpc"}}
                for name, file in (("st1", recipe), ("st2", "strict.yaml"), ("st3", "strange.yaml"))
            ],
            "grpc": {"listen": "127.0.0.1:0"},
        }
    )
    with running(settings, SystemClock(), threading.Event()) as built:
        yield built


def judged(built: Running, result_id: str):
    result = built.appliance.wait_for(result_id, WAIT_S)
    assert result is not None, "no verdict came"
    return result


def test_a_picture_handed_in_is_judged_once_for_each_request(folder, picture_of):
    with appliance(folder) as built:
        ask = built.appliance.inspect_picture
        capless = picture_of(CAPLESS)
        first = ask("st1", capless, part_id="P-1", expected={}, request_id="r1")
        again = ask("st1", capless, part_id="P-1", expected={}, request_id="r1")
        other = ask("st1", capless, part_id="P-2", expected={}, request_id="r2")

        result = judged(built, first)
        judged(built, other)

        assert first == again != other
        assert built.store.last_sequence() == 2
        assert result.verdict is Verdict.NOT_OK
        assert result.draft.intake.part_id == "P-1"
        assert "missing" in {finding.label for finding in result.draft.findings if finding.is_defect}
        assert {ref.role for ref in result.evidence} == {"frame", "crop"}
        assert built.store.verify().ok


def test_a_trigger_from_outside_judges_the_newest_frame(folder, picture_of):
    with appliance(folder) as built:
        with pytest.raises(NotReady, match="no picture yet"):
            built.appliance.trigger("st1", part_id=None, expected={}, source=TriggerKind.GRPC)
        built.appliance.push_frame("hand", picture_of(CAPLESS))
        deadline = threading.Event()
        while built.appliance.newest_frame("hand") is None:
            assert not deadline.wait(0.02)

        result = judged(
            built, built.appliance.trigger("st1", part_id=None, expected={}, source=TriggerKind.MQTT)
        )

        assert result.draft.intake.trigger is TriggerKind.MQTT
        assert result.draft.intake.part_id == "st1-000001"
        assert result.verdict is Verdict.NOT_OK


def test_a_picture_without_a_part_is_not_decidable(folder):
    with appliance(folder) as built:
        grey = np.full((540, 960, 3), 60, np.uint8)

        result = judged(built, built.appliance.inspect_picture("st1", grey, part_id=None, expected={}))

        assert result.verdict is Verdict.NOT_DECIDABLE
        assert {reason.code for reason in result.draft.reasons} == {ReasonCode.IMAGE_QUALITY}


def test_names_that_do_not_exist_are_refused_with_those_that_do(folder, picture_of):
    with appliance(folder) as built:
        with pytest.raises(UnknownName, match="st1, st2"):
            built.appliance.trigger("st9", part_id=None, expected={}, source=TriggerKind.GRPC)
        with pytest.raises(UnknownName, match="hand"):
            built.appliance.newest_frame("cam9")
        with pytest.raises(UnknownName, match="tray-check"):
            built.appliance.select_recipe("st1", "nothing")


def test_a_station_whose_question_the_engine_never_learnt_is_not_ready_and_says_so(folder, picture_of):
    with appliance(folder) as built:
        states = {state.station: state for state in built.appliance.stations()}

        assert not states["st3"].ready
        assert any("code" in reason for reason in states["st3"].not_ready_because)
        with pytest.raises(NotReady, match="code"):
            built.appliance.inspect_picture("st3", picture_of(GOOD), part_id=None, expected={})


def test_a_recipe_that_cannot_be_asked_is_refused_and_the_one_in_use_stays(folder, picture_of):
    with appliance(folder) as built:
        with pytest.raises(NotReady, match="strange"):
            built.appliance.select_recipe("st1", "strange")

        result = judged(
            built, built.appliance.inspect_picture("st1", picture_of(GOOD), part_id=None, expected={})
        )

        assert result.draft.intake.recipe.name == "tray-check"


def test_a_selected_recipe_judges_the_next_part_and_stays_after_a_restart(folder, picture_of):
    with appliance(folder) as built:
        built.appliance.select_recipe("st1", "tray-strict")
        result = judged(
            built, built.appliance.inspect_picture("st1", picture_of(GOOD), part_id=None, expected={})
        )
        assert result.draft.intake.recipe.name == "tray-strict"

    with appliance(folder) as built:
        states = {state.station: state for state in built.appliance.stations()}
        assert states["st1"].recipe.name == "tray-strict"


def test_without_an_engine_the_appliance_stands_and_says_why_it_is_not_ready(folder, picture_of):
    damaged = folder / "damaged.lsengine"
    damaged.write_bytes(b"no bundle at all")

    with appliance(folder, bundle=str(damaged)) as built:
        state = built.appliance.stations()[0]
        assert not state.ready
        assert "engine is failed" in state.not_ready_because[0]
        assert built.appliance.device().engine_state == "FAILED"
        with pytest.raises(NotReady):
            built.appliance.inspect_picture("st1", picture_of(GOOD), part_id=None, expected={})


def test_a_recipe_put_on_the_shelf_while_the_daemon_runs_can_be_selected_and_is_there_after_a_restart(
    folder, picture_of
):
    text = (folder / "tray.yaml").read_text().replace("recipe: tray-check", "recipe: tray-new")
    with appliance(folder) as built:
        with pytest.raises(UnknownName, match="tray-check"):
            built.appliance.select_recipe("st1", "tray-new")
        Shelf(folder / "data" / "recipes").install(text)

        assert built.appliance.select_recipe("st1", "tray-new").name == "tray-new"
        assert "tray-new" in {ref.name for ref, _ in built.appliance.recipes()}

    with appliance(folder) as built:
        assert built.appliance.stations()[0].recipe.name == "tray-new"


def test_a_running_job_says_what_parts_must_be_and_counts_them(folder, picture_of):
    with appliance(folder) as built:
        built.jobs.create(Job("J1", "st1", SystemClock().now(), lot="L77"), None)
        built.jobs.move("J1", JobMove.START, "", None)
        ask = built.appliance.inspect_picture
        result = judged(built, ask("st1", picture_of(GOOD), part_id=None, expected={"colour": "red"}))
        own = judged(built, ask("st1", picture_of(GOOD), part_id=None, expected={"lot": "L78"}))
        elsewhere = judged(built, ask("st2", picture_of(GOOD), part_id=None, expected={}))
        counts = Desk(built.store, SystemClock()).get_job("J1").counts

    assert dict(result.draft.intake.expected) == {"lot": "L77", "job": "J1", "colour": "red"}
    assert own.draft.intake.expected["lot"] == "L78"
    assert dict(elsewhere.draft.intake.expected) == {}
    assert sum(counts.values()) == 2


def test_a_request_is_remembered_over_a_restart(folder, picture_of):
    picture = picture_of(GOOD)
    parts = []
    for _ in range(2):
        with appliance(folder) as built:
            asked = built.appliance.inspect_picture(
                "st1", picture, part_id="P-1", expected={}, request_id="one"
            )
            parts.append(judged(built, asked).result_id)
    assert parts[0] == parts[1]


def test_a_recipe_version_is_installed_activated_kept_over_a_restart_and_rolled_back(folder):
    text = (folder / "tray.yaml").read_text()
    second = text.replace("\nversion: 1\n", "\nversion: 7\n")
    with appliance(folder) as built:
        ref, _ = built.appliance.create_recipe(second, None, {})
        now, before = built.appliance.activate_recipe("st1", ref.name, 7)
        assert (now.version, before.version) == (7, 1)
    with appliance(folder) as built:
        states = {state.station: state for state in built.appliance.stations()}
        assert (states["st1"].recipe.version, states["st1"].previous) == (7, before)
        assert built.appliance.roll_back_recipe("st1") == (before, ref)


def test_an_installed_engine_that_cannot_be_started_gives_way_to_the_one_before(folder, picture_of):
    digest = "ab" * 32
    bundles = folder / "data" / "engines" / "bundles"
    bundles.mkdir(parents=True)
    (bundles / f"{digest}.lsengine").write_bytes(b"what a power cut left")
    slots = bundles.parent / "slots.json"
    slots.write_text(json.dumps({"active": digest, "previous": None, "staged": None, "changed": 3}))

    with appliance(folder) as built:
        result = judged(
            built, built.appliance.inspect_picture("st1", picture_of(GOOD), part_id=None, expected={})
        )

    assert result.verdict is not Verdict.NOT_DECIDABLE
    after = json.loads(slots.read_text())
    assert (after["active"], after["staged"]) == (None, digest)
    with appliance(folder) as built:  # the engine before is the one to start with from now on
        assert built.engine.info is not None
        assert built.engine.info.name == "lineside-demo"
