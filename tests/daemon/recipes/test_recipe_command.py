"""`lineside recipe`, as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lineside.daemon.commands.recipe import recipe
from lineside.daemon.gates.baseline import load_baseline
from lineside.daemon.recipes.load import load_recipe
from lineside.engines.demo.station import line_frames, random_truth

GOOD = """\
# caps of line 3
recipe: caps
trigger: {kind: motion, polarity: bright}
anchor: part
regions: {cap: [0.05, 0.17, 0.37, 0.7]}
ask:
  - id: cap  # the only question
    region: cap
    question: Is the cap on?
    answer: {choice: [ok, missing]}
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(recipe, [str(argument) for argument in arguments])


def test_check_tells_good_files_from_bad_ones(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("question:", "qestion:"))

    only_good, both = call("check", good), call("check", good, bad)

    assert only_good.exit_code == 0
    assert "caps version 1" in only_good.output
    assert both.exit_code == 1
    assert f"{bad}:9: ask[0].qestion: unknown key; did you mean 'question'?" in both.output


def test_check_tells_that_a_baseline_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "caps.yaml"
    file.write_text(GOOD + f"gates: {{baseline: {{file: gone.json, sha256: '{'a' * 64}'}}}}\n")

    result = call("check", file)

    assert result.exit_code == 1
    assert "learn-gates" in result.output


def test_show_spells_everything_out(tmp_path: Path) -> None:
    file = tmp_path / "caps.yaml"
    file.write_text(GOOD)

    shown = json.loads(call("show", file, "--json").output)

    assert shown["hash"] == load_recipe(file).ref.hash
    assert shown["recipe"]["limits"]["deadline_ms"] == 2000
    assert "Is the cap on?" in call("show", file).output
    assert call("show", tmp_path / "absent.yaml").exit_code == 1


def test_schema_is_a_json_schema() -> None:
    schema = json.loads(call("schema").output)

    assert schema["additionalProperties"] is False
    assert "ask" in schema["required"]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(3)
    files = []
    for number, (image, visible) in enumerate(line_frames([random_truth(rng, 1.0)], rng, speed_px=40)):
        if any(part.whole for part in visible):
            files.append(tmp_path / f"{number}.png")
            cv2.imwrite(str(files[-1]), image)
    return files


def test_learn_gates_names_the_baseline_in_the_recipe_and_keeps_its_comments(
    tmp_path: Path, pictures: list[Path]
) -> None:
    file = tmp_path / "caps.yaml"
    file.write_text(GOOD)

    printed = call("learn-gates", file, *pictures)
    assert printed.exit_code == 0
    assert "baseline: {file: caps.baseline.json" in printed.output
    assert file.read_text() == GOOD

    assert call("learn-gates", file, *pictures, "--write").exit_code == 0
    text = file.read_text()
    assert "# caps of line 3" in text
    assert "# the only question" in text
    baseline = load_baseline(load_recipe(file))
    assert baseline is not None
    reference = baseline.of("cap")
    assert reference is not None
    assert reference.numbers.parts == len(pictures)
    assert call("check", file).exit_code == 0


def test_learn_gates_says_which_pictures_it_could_not_use(tmp_path: Path, pictures: list[Path]) -> None:
    file, empty, text = tmp_path / "caps.yaml", tmp_path / "empty.png", tmp_path / "text.png"
    file.write_text(GOOD)
    cv2.imwrite(str(empty), np.full((540, 960, 3), 60, np.uint8))
    text.write_text("no picture")

    some = call("learn-gates", file, *pictures, empty, text)
    none = call("learn-gates", file, empty)

    assert some.exit_code == 0
    assert f"not used: {empty}: no part" in some.output
    assert f"not used: {text}: not a picture" in some.output
    assert none.exit_code == 1
    assert "no picture could be used" in none.output


def test_what_learn_gates_prints_can_be_pasted(tmp_path: Path, pictures: list[Path]) -> None:
    file = tmp_path / "caps.yaml"
    file.write_text(GOOD)
    printed = call("learn-gates", file, *pictures).output

    file.write_text(GOOD + printed[printed.index("gates:") :])

    assert call("check", file).exit_code == 0
