"""Gates: a bad picture is refused by number, a good one passes, and a defect is no bad picture."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.daemon.gates.baseline import (
    BadBaseline,
    Baseline,
    learn_baseline,
    load_baseline,
    read_baseline,
)
from lineside.daemon.gates.check import check_picture
from lineside.daemon.gates.measure import grey_of, measure, shift_between, sketch_of
from lineside.daemon.gates.options import GateOptions
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.values import Picture, ReasonCode
from lineside.engines.demo.conditions import CONDITIONS
from lineside.engines.demo.crops import part_crops
from lineside.engines.demo.light import Light
from lineside.engines.demo.truth import PartTruth, random_code, random_truth

SHARP = np.zeros((120, 160, 3), np.uint8)
SHARP[20:100, 30:130] = 160
SHARP[40:80, 60:100] = 60
NOISE = np.random.default_rng(1).normal(0, 2, SHARP.shape)
CARD: Picture = np.clip(SHARP.astype(float) + 40 + NOISE, 0, 255).astype(np.uint8)


def objections(picture: Picture, baseline: Baseline | None = None, **gates: object) -> list[str]:
    reasons = check_picture(picture, "cap", "cap", GateOptions.model_validate(gates), baseline)
    assert all((reason.code, reason.ask) == (ReasonCode.IMAGE_QUALITY, "cap") for reason in reasons)
    return [reason.message for reason in reasons]


def like_card(gain: float = 1.0, blur: float = 0.0, shift: int = 0) -> Picture:
    picture = cv2.GaussianBlur(CARD, (0, 0), blur) if blur else CARD
    picture = np.roll(picture, (shift, shift), (0, 1))
    return np.clip(picture * gain, 0, 255).astype(np.uint8)


CARD_BASELINE = learn_baseline({"cap": [like_card(gain) for gain in (0.95, 0.97, 1.0, 1.02, 1.05)]})


def test_a_good_picture_passes_with_and_without_baseline() -> None:
    assert objections(CARD) == []
    assert objections(CARD, CARD_BASELINE) == []


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((60, 60, 3), np.uint8), "too dark"),
        (np.full((60, 60, 3), 255, np.uint8), "too bright"),
        (np.full((60, 60, 3), 128, np.uint8), "shows nothing"),
        (np.zeros((0, 60, 3), np.uint8), "empty picture"),
        (like_card(0.05), "too dark"),
        (like_card(blur=5), "blurred"),
    ],
)
def test_a_picture_that_shows_nothing_is_refused_at_any_station(picture: Picture, says: str) -> None:
    assert any(says in message for message in objections(picture))


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (like_card(blur=2.5), "blurred"),
        (like_card(0.6), "light has changed"),
        (like_card(1.6), "light has changed"),
        (like_card(shift=40), "moved"),
    ],
)
def test_a_station_that_has_changed_is_noticed_against_its_baseline(picture: Picture, says: str) -> None:
    found = objections(picture, CARD_BASELINE)

    assert any(says in message for message in found)
    assert all(any(digit in message for digit in "0123456789") for message in found)


def test_a_saturated_spot_that_good_parts_do_not_have_is_glare() -> None:
    dazzled = CARD.copy()
    cv2.circle(dazzled, (80, 60), 40, (255, 255, 255), -1)

    assert any("glare" in message for message in objections(dazzled, CARD_BASELINE))


@pytest.mark.parametrize(
    ("gate", "picture"),
    [("blur", like_card(blur=2.5)), ("drift", like_card(0.7)), ("region_moved", like_card(shift=40))],
)
def test_a_gate_that_is_off_does_not_object(gate: str, picture: Picture) -> None:
    on, off = objections(picture, CARD_BASELINE), objections(picture, CARD_BASELINE, **{gate: "off"})

    assert len(off) == len(on) - 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_picture_gives_finite_numbers_in_their_ranges(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    grey = grey_of(image)

    seen = measure(grey)
    shift, likeness = shift_between(sketch_of(grey), sketch_of(grey))

    assert seen.sharpness >= 0
    assert 0 <= seen.mean <= 255
    assert 0 <= seen.glare <= seen.bright <= 1
    assert 0 <= seen.dark <= 1
    assert np.isfinite([shift, likeness]).all()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (10, 0), (0, -8), (12, 12)])
def test_a_shift_is_measured_in_shares_of_the_picture(dx: int, dy: int) -> None:
    moved = np.roll(CARD, (dy, dx), (0, 1))

    shift, likeness = shift_between(sketch_of(grey_of(moved)), sketch_of(grey_of(CARD)))

    assert abs(shift - float(np.hypot(dx / 160, dy / 120))) < 0.04
    assert likeness > 0.8


def test_a_baseline_survives_its_file_to_the_last_bit() -> None:
    content = CARD_BASELINE.to_json()

    assert read_baseline(content).to_json() == content


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"format":2,"regions":{}}', b"\xff", b'{"format":1,"regions":{"a":{}}}']
)
def test_what_is_no_baseline_is_refused(content: bytes) -> None:
    with pytest.raises(BadBaseline):
        read_baseline(content)


def test_too_few_parts_make_no_baseline() -> None:
    with pytest.raises(BadBaseline, match="at least 5"):
        learn_baseline({"cap": [CARD] * 4})


def recipe_naming(content: bytes, folder: Path) -> tuple[Path, str]:
    path = folder / "cap.baseline.json"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    text = (
        "recipe: cap\ntrigger: {kind: grpc}\nregions: {cap: [0, 0, 1, 1]}\n"
        'ask: [{id: cap, region: cap, question: "?", answer: {choice: [ok, bad]}}]\n'
        f"gates: {{baseline: {{file: cap.baseline.json, sha256: '{digest}'}}}}\n"
    )
    return path, text


def test_a_recipe_gets_exactly_the_baseline_it_names(tmp_path: Path) -> None:
    path, text = recipe_naming(CARD_BASELINE.to_json(), tmp_path)
    loaded = parse_recipe(text, str(tmp_path / "cap.yaml"))

    found = load_baseline(loaded)
    assert found is not None
    assert found.to_json() == CARD_BASELINE.to_json()

    path.write_bytes(CARD_BASELINE.to_json() + b" ")
    with pytest.raises(BadBaseline, match="learn-gates"):
        load_baseline(loaded)
    path.unlink()
    with pytest.raises(BadBaseline, match="cannot be read"):
        load_baseline(loaded)


def test_a_baseline_without_the_recipes_region_is_refused(tmp_path: Path) -> None:
    other = json.loads(CARD_BASELINE.to_json())
    other["regions"]["lid"] = other["regions"].pop("cap")
    _, text = recipe_naming(json.dumps(other).encode(), tmp_path)

    with pytest.raises(BadBaseline, match="'cap'"):
        load_baseline(parse_recipe(text, str(tmp_path / "cap.yaml")))


@pytest.fixture(scope="module")
def station() -> Baseline:
    rng = np.random.default_rng(7)
    crops: dict[str | None, list[Picture]] = {"cap": [], "blister": [], "code": []}
    for _ in range(25):
        for name, crop in part_crops(
            good_part(rng), rng, replace(Light(), gain=float(rng.uniform(0.92, 1.08)))
        ).items():
            crops[name].append(crop)
    return learn_baseline(crops)


def good_part(rng: np.random.Generator) -> PartTruth:
    return PartTruth("ok", 6, random_code(rng, valid=True), True)


def share_refused(baseline: Baseline, draws: list[dict[str, Picture]]) -> float:
    """The share of parts of which at least one crop is refused."""
    gates = GateOptions()
    refused = [
        any(check_picture(crop, name, name, gates, baseline) for name, crop in one.items()) for one in draws
    ]
    return float(np.mean(refused))


def test_the_demonstrations_parts_pass_good_and_bad(station: Baseline) -> None:
    rng = np.random.default_rng(8)
    draws = [
        part_crops(random_truth(rng, 0.3), rng, replace(Light(), gain=float(rng.uniform(0.92, 1.08))))
        for _ in range(60)
    ]

    assert share_refused(station, draws) <= 0.02


@pytest.mark.parametrize(
    "condition",
    ["dimmer light", "defocus", "glare", "no part", "shifted camera"],
)
def test_a_demonstration_station_that_has_changed_is_noticed(station: Baseline, condition: str) -> None:
    rng = np.random.default_rng(9)
    draws = [CONDITIONS[condition](random_truth(rng, 0.8), rng) for _ in range(40)]

    assert share_refused(station, draws) >= 0.97
