"""The pages for settings and recipes say every key that is checked, and no other; their examples hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lineside.daemon.keytable import FILES, between_markers, key_table
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.settings import Settings
from lineside.daemon.yamlfile import parse

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"settings": DOCS / "configuration.md", "recipe": DOCS / "recipes.md"}


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_has_the_table_of_the_model_that_checks_the_file(name):
    page = PAGES[name].read_text()

    again = f"python -m lineside.daemon.keytable {name} docs/{PAGES[name].name}"
    assert between_markers(page) == key_table(FILES[name]), f"make the table anew: {again}"


def examples(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_settings_examples_are_good_settings():
    whole, *additions = examples(PAGES["settings"])

    assert parse(whole, Settings, file="configuration.md").device.id == "capper-2"
    assert additions
    for addition in additions:
        assert parse(whole + addition, Settings, file="configuration.md")


def test_the_recipe_examples_are_good_recipes():
    recipes = [parse_recipe(example, "recipes.md").recipe for example in examples(PAGES["recipe"])]

    assert [recipe.recipe for recipe in recipes] == ["tray-check", "print-and-belt"]
