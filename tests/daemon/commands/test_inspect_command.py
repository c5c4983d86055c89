"""`lineside inspect`: one JSON line for each picture, with the truth about what could not be judged."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineside.daemon.commands.inspect import inspect
from lineside.engines.demo.station import line_frames
from lineside.engines.demo.truth import PartTruth

RECIPE = str(files("lineside.daemon.demo") / "tray-check.yaml")


@pytest.fixture(scope="module")
def capless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a tray whose cap is missing."""
    path = tmp_path_factory.mktemp("pictures") / "tray 1.png"
    rng = np.random.default_rng(4)
    truth = PartTruth("missing", 6, "K48211", True, severity=1.0)
    for frame, visible in line_frames([truth], rng, speed_px=60, pitch_px=600):
        if any(abs(part.offset) <= 30 for part in visible):
            cv2.imwrite(str(path), frame)
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(inspect, [str(argument) for argument in arguments])


def test_a_picture_gets_a_verdict_with_answers_probabilities_boxes_and_times(capless):
    ended = call("--recipe", RECIPE, capless)

    assert ended.exit_code == 0, ended.output
    line = json.loads(ended.output)
    assert line["verdict"] == "NOT_OK"
    assert [outcome["ask"] for outcome in line["outcomes"]] == ["cap", "tablets", "code"]
    assert line["outcomes"][0]["value"] == "missing"
    assert sum(line["outcomes"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert all(0 <= edge <= 1 for edge in line["outcomes"][0]["box"])
    assert {"vision", "prefill", "camera_to_verdict"} <= set(line["timings_ms"])
    assert line["recipe"]["name"] == "tray-check"
    assert line["engine"]["name"]


def test_the_same_picture_gets_the_same_answer_every_time(capless):
    first, second = (
        json.loads(line) for line in call("--recipe", RECIPE, capless, capless).output.splitlines()
    )

    assert first["outcomes"] == second["outcomes"]


def test_show_writes_an_annotated_picture_and_the_crops_that_were_looked_at(capless, tmp_path):
    ended = call("--recipe", RECIPE, "--show", tmp_path / "out", capless)

    shown = [Path(name) for name in json.loads(ended.output)["shown"]]
    assert [path.name for path in shown] == [
        "tray 1.not_ok.png",
        "tray 1.cap.png",
        "tray 1.tablets.png",
        "tray 1.code.png",
    ]
    original, annotated = cv2.imread(str(capless)), cv2.imread(str(shown[0]))
    assert original.shape == annotated.shape
    assert (original != annotated).any()


def test_a_file_that_is_no_picture_is_said_to_be_none_and_the_others_are_still_judged(capless, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n but no more")

    ended = call("--recipe", RECIPE, broken, tmp_path / "missing.png", capless)

    lines = [json.loads(line) for line in ended.output.splitlines()]
    assert ended.exit_code == 1
    assert [("error" in line) for line in lines] == [True, True, False]


def test_a_recipe_with_a_wrong_key_is_refused_with_its_line(tmp_path, capless):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(Path(RECIPE).read_text().partition("gates:")[0].replace("regions:", "regoins:"))

    ended = call("--recipe", recipe, capless)

    assert ended.exit_code == 3
    assert "regoins" in ended.output
    assert "regions" in ended.output


def test_a_question_the_engine_never_learnt_is_refused_with_what_it_knows(tmp_path, capless):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        Path(RECIPE)
        .read_text()
        .partition("gates:")[0]
        .replace("How many tablets are in the blister?", "How many birds?")
    )

    ended = call("--recipe", recipe, capless)

    assert ended.exit_code == 3
    assert "How many tablets are in the blister?" in ended.output


def test_a_damaged_engine_is_refused(tmp_path, capless):
    bundle = tmp_path / "bad.lsengine"
    bundle.write_bytes(b"nothing")

    ended = call("--recipe", RECIPE, "--engine", bundle, capless)

    assert ended.exit_code == 3
    assert "bad.lsengine" in ended.output


def test_what_mes_would_send_is_given_as_key_and_value(capless):
    assert call("--recipe", RECIPE, "--expect", "lot", capless).exit_code == 2


CLIP_RECIPE = """
recipe: watch
trigger: {kind: grpc}
ask:
  - id: cap
    clip: {frames: 4, seconds: 1}
    question: Is the cap on straight, undamaged, clean and printed right?
    answer: {choice: [ok, missing]}
gates: {blur: off}
evidence: {keep: {NOT_DECIDABLE: 90d}}
"""


def test_a_video_is_judged_on_its_last_second_and_a_picture_has_none(tmp_path, capless):
    recipe, video = tmp_path / "watch.yaml", tmp_path / "belt.avi"
    recipe.write_text(CLIP_RECIPE)
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for at in range(25):
        picture = np.full((48, 64, 3), (at * 8, 90, 90), np.uint8)
        picture[:10] = 200
        writer.write(picture)
    writer.release()

    clip, still = (
        json.loads(line)
        for line in call("--recipe", recipe, "--show", tmp_path / "out", video, capless).output.splitlines()
    )

    # The demo engine was trained on single pictures and says so: the clip came as far as the engine.
    assert "trained on one picture a question, not on a clip" in clip["reasons"][0]["message"]
    strip = cv2.imread(str(tmp_path / "out" / "belt.cap.png"))
    assert strip.shape == (48, 4 * 64, 3)
    assert np.diff(strip[30, 32::64, 0].astype(int)).tolist() == pytest.approx([27, 27, 27], abs=12)
    assert (still["verdict"], still["reasons"][0]["code"]) == ("NOT_DECIDABLE", "NO_FRAME")
