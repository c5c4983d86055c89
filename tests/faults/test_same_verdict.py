"""The same picture gives the same answer, whenever and beside whatever it is asked; one recipe a result."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))  # for the appliance of test_composition

from test_composition import CAPLESS, GOOD, appliance, folder, judged, picture_of

from lineside.daemon.ports import NotReady
from lineside.daemon.store.canonical import canonical_json
from lineside.daemon.store.records import json_of, parse_canonical
from lineside.daemon.values import Result

__all__ = ["folder", "picture_of"]

SAME = ("verdict", "reasons", "findings", "outcomes", "recipe", "engine", "evidence", "part_box")
"""What of a record follows from picture, recipe and engine; the rest are ids, times and the chain."""


@pytest.fixture
def patient(folder: Path) -> Path:
    """Recipes with time enough for a slow machine: a late verdict would say nothing about sameness."""
    for file in folder.glob("*.yaml"):
        text = file.read_text().replace("deadline_ms: 2000", "deadline_ms: 60000")
        file.write_text(text.replace("max_frame_age_ms: 2000", "max_frame_age_ms: 60000"))
    return folder


def essence(result: Result) -> str:
    record = parse_canonical(json_of(result))
    return canonical_json({key: record[key] for key in SAME})


def test_the_same_picture_gives_the_same_bytes_over_restarts_and_beside_others(patient, picture_of):
    pictures = [picture_of(GOOD), picture_of(CAPLESS)]

    def ask(built, picture):
        return built.appliance.inspect_picture("st1", picture, part_id="P", expected={})

    with appliance(patient) as built:
        alone = [essence(judged(built, ask(built, picture))) for picture in pictures]
    with appliance(patient) as built:
        together = [ask(built, picture) for _ in range(3) for picture in pictures]
        found = [essence(judged(built, result_id)) for result_id in together]

    assert alone[0] != alone[1]
    assert found == alone * 3


def test_recipes_changed_under_load_leave_no_result_between_two(patient, picture_of):
    good, done = picture_of(GOOD), threading.Event()
    # Six tablets: one recipe means six, the other five.
    objects = {"tray-check": False, "tray-strict": True}

    with appliance(patient) as built:
        ids: list[str] = []

        def feed() -> None:
            while not done.is_set():
                try:
                    ids.append(built.appliance.inspect_picture("st1", good, part_id=None, expected={}))
                except NotReady:  # the other recipe's questions are being prepared
                    time.sleep(0.02)
                    continue
                built.appliance.wait_for(ids[-1], 60)

        feeder = threading.Thread(target=feed)
        feeder.start()
        for name in ("tray-strict", "tray-check") * 2:
            built.appliance.select_recipe("st1", name)
            built.store.wait_beyond(built.store.last_sequence() + 1, 30)
        done.set()
        feeder.join()
        results = [judged(built, result_id) for result_id in ids]

    named = {(result.draft.intake.recipe.name, result.draft.intake.recipe.hash) for result in results}
    assert len(named) == 2, "both were in use, each with one hash"
    for result in results:
        reasons = {reason.ask for reason in result.draft.reasons}
        assert ("tablets" in reasons) == objects[result.draft.intake.recipe.name]
