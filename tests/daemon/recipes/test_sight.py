"""What a question may look at: places, a golden reference, a clip; what is refused, and by which key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from lineside.daemon.commands.recipe import recipe as recipe_command
from lineside.daemon.recipe_book import load_plan
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.recipes.shelf import Shelf
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.yamlfile import BadFile

HEAD = """recipe: cap
trigger: {kind: grpc}
regions: {left: [0.0, 0.0, 0.5, 1.0], right: [0.5, 0.0, 1.0, 1.0]}
ask:
"""
QUESTION = "question: Do they look alike?, answer: {choice: [ok, unlike]}"


def recipe_with(sight: str) -> str:
    return f"{HEAD}  - {{id: both, {sight}{', ' if sight else ''}{QUESTION}}}\n"


def test_several_places_in_the_order_written():
    recipe = parse_recipe(recipe_with("regions: [right, left]"), "r").recipe

    assert recipe.places_of(recipe.ask[0]) == {"right": (0.5, 0, 1, 1), "left": (0, 0, 0.5, 1)}


def test_a_clip_has_eight_pictures_over_two_seconds_unless_told_otherwise():
    (ask,) = parse_recipe(recipe_with("region: left, clip: {}"), "r").recipe.ask

    assert ask.clip == ClipOption(frames=8, seconds=2.0)
    assert ask.clip.fps == 3.5


@pytest.mark.parametrize(
    ("sight", "key", "hint"),
    [
        ("regions: [left, rihgt]", "ask[0].regions[1]", "did you mean 'right'?"),
        ("regions: [left, left]", "ask[0].regions[1]", "'left' is there twice"),
        ("regions: [left]", "ask[0].regions", "write `region: left`"),
        ("region: left, regions: [left, right]", "ask[0].regions", "give either region or regions"),
        ("regions: [left, right], clip: {}", "ask[0].clip", "is of one place"),
        ("region: left, clip: {frames: 1}", "ask[0].clip.frames", "greater than or equal to 2"),
        ("region: left, clip: {second: 2}", "ask[0].clip.second", "did you mean 'seconds'?"),
        ("golden: {file: ../g.png, sha256: aa}", "ask[0].golden.file", "../g.png"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_with_its_key(sight, key, hint):
    with pytest.raises(BadFile) as refused:
        parse_recipe(recipe_with(sight), "r")

    assert [problem.key for problem in refused.value.problems if hint in problem.message] == [key]


def test_a_recipe_from_before_these_keys_keeps_its_hash_and_using_one_changes_it():
    plain = parse_recipe(recipe_with(""), "r").ref.hash

    assert plain == "0e8a8f291d71721f8504d83f1bf8379e5f85c3237ca407fcd4580794c0e8e66a"
    assert parse_recipe(recipe_with("regions: []"), "r").ref.hash == plain
    assert parse_recipe(recipe_with("regions: [left, right]"), "r").ref.hash != plain


@pytest.fixture
def good_part(tmp_path) -> Path:
    image = np.random.default_rng(5).integers(0, 256, (40, 80, 3), np.uint8)
    path = tmp_path / "good.png"
    cv2.imwrite(str(path), image)
    return path


def run(*arguments: object):
    return CliRunner().invoke(recipe_command, [str(argument) for argument in arguments])


def test_a_golden_reference_is_cut_out_of_a_good_part_and_named_in_the_recipe(tmp_path, good_part):
    file = tmp_path / "cap.yaml"
    file.write_text(recipe_with("region: right").replace("ask:", "ask:  # what we ask"))

    done = run("golden", file, "both", good_part, "--write")

    assert done.exit_code == 0, done.output
    assert "# what we ask" in file.read_text()
    (look,) = load_plan(file).looks
    assert (look.golden == cv2.imread(str(good_part))[:, 40:]).all()
    assert "cap.both.golden.png + right" in run("show", file).output


def test_a_reference_that_is_missing_or_another_one_is_refused_with_what_to_do(tmp_path, good_part):
    file = tmp_path / "cap.yaml"
    file.write_text(recipe_with("region: right"))
    run("golden", file, "both", good_part, "--write")
    golden = tmp_path / "cap.both.golden.png"

    golden.write_bytes(good_part.read_bytes())
    other = run("check", file)
    golden.unlink()
    missing = run("check", file)

    assert (other.exit_code, missing.exit_code) == (1, 1)
    assert "is not the picture that the recipe was made with" in other.output
    assert "cannot be read" in missing.output
    assert "`lineside recipe golden" in missing.output


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "words.png").write_bytes(b"no picture")
    digest = hashlib.sha256(b"no picture").hexdigest()
    file = tmp_path / "cap.yaml"
    file.write_text(recipe_with(f'golden: {{file: words.png, sha256: "{digest}"}}'))

    with pytest.raises(BadFile, match="is not a picture that can be read"):
        load_plan(file)


def test_a_question_that_does_not_exist_and_one_of_several_places_are_told_what_to_do(tmp_path, good_part):
    file = tmp_path / "cap.yaml"
    file.write_text(recipe_with("regions: [left, right]"))

    assert "did you mean 'both'?" in run("golden", file, "bot", good_part).output
    assert "--whole" in run("golden", file, "both", good_part).output
    assert run("golden", file, "both", good_part, "--whole").exit_code == 0


def test_references_travel_to_the_shelf_with_their_recipe(tmp_path, good_part):
    content = good_part.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    text = recipe_with(f'golden: {{file: good.png, sha256: "{digest}"}}')

    installed = Shelf(tmp_path / "shelf").install(text, goldens={"both": content})

    assert (Path(installed.file).parent / "good.png").read_bytes() == content
    assert load_plan(Path(installed.file)).looks[0].golden is not None
