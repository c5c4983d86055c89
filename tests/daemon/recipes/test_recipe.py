"""Recipes: what the contract shows is read; what could never work, or is not built yet, is refused."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lineside.daemon.recipes.load import content_hash, load_recipe, parse_recipe
from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.values import Verdict
from lineside.daemon.yamlfile import BadFile

CONTRACT = """\
recipe: cap-check
camera: cam1
trigger: {kind: motion, region: [0.3, 0.2, 0.7, 0.9]}
regions: {cap: [0.35, 0.1, 0.65, 0.45]}
ask:
  - id: cap
    region: cap
    question: Is the cap on straight and undamaged?
    answer: {choice: [ok, missing, tilted, cracked]}
    fail_when: [missing, tilted, cracked]
  - id: lot
    question: Read the lot code printed on the shoulder.
    answer: {text: "L[0-9]{6}[A-Z]"}
    rules: [{equals: mes.lot}]
  - id: tablets
    question: How many tablets are there?
    answer: {count: [0, 9]}
    expect: {equals: 6}
limits: {max_escape_rate: 0.001, deadline_ms: 400, when_late: NOT_DECIDABLE}
evidence: {keep: {NOT_OK: 90d, NOT_DECIDABLE: 36h, OK: 1%}}
gates: {glare: off, blur: {min_ratio: 0.4}}
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(BadFile) as refused:
        parse_recipe(text, "cap.yaml")
    return [(problem.line, problem.key, problem.message) for problem in refused.value.problems]


def test_the_contracts_example_is_read() -> None:
    recipe = parse_recipe(CONTRACT, "cap.yaml").recipe

    assert (recipe.recipe, recipe.version, recipe.anchor) == ("cap-check", 1, "frame")
    cap, lot, tablets = recipe.ask
    assert (cap.answer.kind, lot.answer.kind, tablets.answer.kind) == ("choice", "text", "count")
    assert cap.bad_values == {"missing", "tilted", "cracked"}
    assert cap.min_confidence == 0.9
    assert recipe.places_of(cap) == {"cap": (0.35, 0.1, 0.65, 0.45)}
    assert recipe.places_of(lot) == {None: (0, 0, 1, 1)}
    assert recipe.gates.glare == "off"
    keep = recipe.evidence.keep
    assert keep.of(Verdict.NOT_OK).duration == timedelta(days=90)
    assert keep.of(Verdict.NOT_DECIDABLE).duration == timedelta(hours=36)
    assert (keep.of(Verdict.OK).share, keep.of(Verdict.OK).duration) == (0.01, None)


def test_without_fail_when_every_value_but_ok_fails() -> None:
    text = CONTRACT.replace("    fail_when: [missing, tilted, cracked]\n", "")

    assert parse_recipe(text, "cap.yaml").recipe.ask[0].bad_values == {"missing", "tilted", "cracked"}


@pytest.mark.parametrize(
    ("right", "wrong", "line", "key", "says"),
    [
        ("camera: cam1", "camra: cam1", 2, "camra", "did you mean 'camera'?"),
        ("kind: motion", "kind: gpio", 3, "trigger.kind", "not implemented in this version"),
        ("[0.3, 0.2, 0.7, 0.9]", "[0.3, 0.2, 0.3, 0.9]", 3, "trigger.region", "x0 < x1"),
        (
            "[0.35, 0.1, 0.65, 0.45]",
            "[0.35, 0.1, 1.65, 0.45]",
            4,
            "regions.cap[2]",
            "less than or equal to 1",
        ),
        ("[0.35, 0.1, 0.65, 0.45]", "[0.35, .nan, 0.65, 0.45]", 4, "regions.cap[1]", "finite"),
        ("region: cap\n", "region: cpa\n", 7, "ask[0].region", "did you mean 'cap'?"),
        ("choice: [", "measure: [", 9, "ask[0].answer.measure", "not implemented in this version"),
        ("choice: [", "boxes: [", 9, "ask[0].answer.boxes", "not implemented in this version"),
        ("choice: [", "object: [", 9, "ask[0].answer.object", "not implemented in this version"),
        ("choice: [", "choise: [", 9, "ask[0].answer.choise", "did you mean 'choice'?"),
        ("choice: [ok, ", "choice: [ok, ok, ", 9, "ask[0].answer.choice[1]", "twice"),
        ("choice: [ok, missing, tilted, cracked]", "choice: [ok, 1]", 9, "ask[0].answer.choice[1]", "string"),
        ("fail_when: [missing", "fail_when: [mising", 10, "ask[0].fail_when[0]", "did you mean 'missing'?"),
        ("fail_when: [missing", "fail_when: [ok, missing", 10, "ask[0].fail_when", "no part could pass"),
        ("id: lot", "id: cap", 11, "ask[1].id", "taken by ask[0]"),
        ('{text: "L[0-9]{6}[A-Z]"}', '{text: "L["}', 13, "ask[1].answer.text", "not a regular expression"),
        ("{equals: mes.lot}", "{equal: mes.lot}", 14, "ask[1].rules[0].equal", "did you mean 'equals'?"),
        ("{equals: mes.lot}", "{check_digit: gs2}", 14, "ask[1].rules[0].check_digit", "gs1"),
        ("{equals: mes.lot}", "{agree: cap}", 14, "ask[1].rules[0].agree", "not implemented in this version"),
        ("count: [0, 9]", "count: [9, 0]", 17, "ask[2].answer.count", "smallest, largest"),
        ("    expect: {equals: 6}\n", "", 15, "ask[2]", "expect is missing"),
        ("expect: {equals: 6}", "expect: {equals: 10}", 18, "ask[2].expect", "no part could pass"),
        ("expect: {equals: 6}", "expect: {equals: 6, between: [1, 2]}", 18, "ask[2].expect", "either"),
        ("expect: {equals: 6}", "expect: {equals: lot}", 18, "ask[2].expect.equals", ""),
        ("when_late: NOT_DECIDABLE", "when_late: OK", 19, "limits.when_late", "'NOT_DECIDABLE' or 'NOT_OK'"),
        ("OK: 1%", "OK: 1x", 20, "evidence.keep.OK", "90d"),
        ("OK: 1%", "OK: 101%", 20, "evidence.keep.OK", "90d"),
        ("glare: off", "glare: on", 21, "gates.glare", ""),
        ("glare: off", "glair: off", 21, "gates.glair", "did you mean 'glare'?"),
        ("recipe: cap-check", "recipe: ../cap", 1, "recipe", "match"),
    ],
)
def test_a_mistake_is_named_with_its_line(right: str, wrong: str, line: int, key: str, says: str) -> None:
    assert right in CONTRACT

    found = problems(CONTRACT.replace(right, wrong, 1))

    assert (line, key) in [(at, name) for at, name, _ in found]
    assert any(says in message for _, _, message in found)


def test_a_choice_without_ok_must_say_what_fails() -> None:
    text = CONTRACT.replace("choice: [ok,", "choice: [good,").replace(
        "    fail_when: [missing, tilted, cracked]\n", ""
    )

    assert problems(text) == [
        (6, "ask[0]", "fail_when is missing: no value is 'ok', so say which values are bad")
    ]


@pytest.mark.parametrize(
    "change",
    [
        ("    fail_when: [missing, tilted, cracked]", "    expect: {equals: 1}"),
        ('    answer: {text: "L[0-9]{6}[A-Z]"}', '    answer: {text: "L"}\n    fail_when: [x]'),
        ("    expect: {equals: 6}", "    expect: {equals: 6}\n    rules: [{check_digit: gs1}]"),
    ],
)
def test_what_does_not_belong_to_an_answers_kind_is_refused(change: tuple[str, str]) -> None:
    assert len(problems(CONTRACT.replace(*change, 1))) == 1


def test_regions_on_the_part_need_the_trigger_that_finds_it() -> None:
    text = CONTRACT.replace(
        "trigger: {kind: motion, region: [0.3, 0.2, 0.7, 0.9]}", "anchor: part\ntrigger: {kind: mqtt}"
    )

    assert problems(text)[0][1] == "anchor"


def test_the_hash_is_of_the_content_and_not_of_the_text(tmp_path: Path) -> None:
    recipe = parse_recipe(CONTRACT, "cap.yaml").recipe
    spelled_out = parse_recipe(json.dumps(recipe.model_dump(mode="json")), "cap.json").recipe
    commented = parse_recipe("# a note\n" + CONTRACT.replace("version: 1", ""), "cap.yaml").recipe
    changed = parse_recipe(CONTRACT.replace("deadline_ms: 400", "deadline_ms: 401"), "cap.yaml").recipe
    path = tmp_path / "cap.yaml"
    path.write_text(CONTRACT)

    assert content_hash(recipe) == content_hash(spelled_out) == content_hash(commented)
    assert content_hash(recipe) != content_hash(changed)
    assert load_recipe(path).ref.hash == content_hash(recipe)


def test_the_printed_schema_takes_what_the_device_takes() -> None:
    schema = Recipe.model_json_schema()
    document = YAML(typ="safe").load(CONTRACT)
    jsonschema.validate(document, schema)
    document["ask"][0]["colour"] = "red"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(["trigger", "regions", "ask", "gates", "limits", "evidence", "recipe", "anchor"]),
)
def test_no_value_under_any_key_does_more_than_refuse(value: object, key: str) -> None:
    document = parse_recipe(CONTRACT, "cap.yaml").recipe.model_dump(mode="json")
    document[key] = value
    with contextlib.suppress(BadFile):
        parse_recipe(json.dumps(document), "any.json")
