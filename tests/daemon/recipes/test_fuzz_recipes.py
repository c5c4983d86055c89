"""Recipe texts from anywhere: each is a recipe or a BadFile that names a line, and nothing else."""

from __future__ import annotations

import os
from importlib.resources import files

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineside.daemon.recipes.load import LoadedRecipe, content_hash, parse_recipe
from lineside.daemon.yamlfile import MAX_CHARACTERS, BadFile

EXAMPLES = int(os.environ.get("LINESIDE_FUZZ_EXAMPLES", "150"))
GOOD = (files("lineside.daemon.demo") / "tray-check.yaml").read_text()
LINES = GOOD.splitlines(keepends=True)
NASTY = st.sampled_from(
    [
        "&a [*a]",
        "!!python/object/apply:os.system ['true']",
        "{" * 500,
        "[" * 500,
        "\x00",
        "\ufeff",
        "<<: *x",
        "1e999",
        ".nan",
        "-.inf",
        "0x" + "f" * 400,
        "9" * 5000,
        "? {a: b}",
        "---\n---",
        "%YAML 9.9",
        "\t- x",
        "{}: {}",
        "2026-02-30",
        "12:30:45",
        "key: key: key",
        "'",
        '"',
        "|\n  " + "x" * 300,
        "\U0001f600",
        "null",
        "~",
        "yes",
    ]
)
MUTATED = st.lists(
    st.tuples(
        st.integers(0, len(LINES)),
        st.sampled_from(["cut", "double", "put", "value"]),
        NASTY | st.text(max_size=30),
    ),
    max_size=4,
)


def mutated(changes: list[tuple[int, str, str]]) -> str:
    lines = list(LINES)
    for at, how, text in changes:
        here = min(at, len(lines) - 1)
        if not lines:
            break
        match how:
            case "cut":
                del lines[here]
            case "double":
                lines.insert(here, lines[here])
            case "put":
                lines.insert(here, text + "\n")
            case _:
                key, colon, _ = lines[here].partition(":")
                lines[here] = f"{key}{colon} {text}\n"
    return "".join(lines)


def check(text: str) -> None:
    try:
        loaded = parse_recipe(text, "recipe")
    except BadFile as error:
        refused = error
    else:
        assert_same_again(text, loaded)
        return
    assert refused.problems
    assert all(problem.line >= 0 and problem.message for problem in refused.problems)


def assert_same_again(text: str, loaded: LoadedRecipe) -> None:
    assert len(content_hash(loaded.recipe)) == 64
    assert parse_recipe(text, "again").ref == loaded.ref


@settings(max_examples=EXAMPLES, deadline=None)
@given(MUTATED)
@example([])
def test_a_changed_recipe_is_a_recipe_or_is_told_what_is_wrong(changes: list[tuple[int, str, str]]) -> None:
    check(mutated(changes))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=400) | NASTY)
@example("x" * (MAX_CHARACTERS + 1))
@example("a: " + "[" * 30_000)
@example("a: &a [b]\nc: [*a, *a]")
def test_any_text_is_a_recipe_or_is_told_what_is_wrong(text: str) -> None:
    check(text)
