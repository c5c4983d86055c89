"""The shelf: recipes are installed whole or not at all, and a version means one content for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineside.daemon.recipes.shelf import RECIPE_FILE, Shelf, UnknownRecipe, VersionTaken
from lineside.daemon.yamlfile import BadFile

TEXT = """\
recipe: cap
version: 1
trigger: {kind: grpc}
ask: [{id: cap, question: "Cap?", answer: {choice: [ok, missing]}}]
"""


def test_an_installed_recipe_is_found_by_name_and_version(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "recipes")
    assert shelf.names() == []

    first = shelf.install(TEXT)
    shelf.install(TEXT.replace("version: 1", "version: 12").replace("missing", "absent"))
    shelf.install(TEXT.replace("version: 1", "version: 2"))

    assert shelf.names() == ["cap"]
    assert shelf.get("cap").recipe.version == 12
    assert shelf.get("cap", 1).ref == first.ref
    assert [loaded.recipe.version for loaded in shelf.all()] == [1, 2, 12]
    assert shelf.get("cap", 1).text == TEXT


def test_the_same_again_changes_nothing_and_another_content_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first = shelf.install(TEXT)

    assert shelf.install("# the same\n" + TEXT).ref == first.ref
    assert shelf.get("cap").text == TEXT
    with pytest.raises(VersionTaken, match="raise its version"):
        shelf.install(TEXT.replace("missing", "absent"))
    assert shelf.get("cap").ref == first.ref


def test_what_is_no_recipe_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(BadFile):
        Shelf(tmp_path).install("recipe: [")

    assert list(tmp_path.rglob("*")) == []


def test_what_an_interrupted_install_left_is_not_a_recipe(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(TEXT)
    left = tmp_path / "cap" / ".staging-x1"
    left.mkdir()
    (left / RECIPE_FILE).write_text("recipe: ca")
    (tmp_path / "half").mkdir()

    assert shelf.names() == ["cap"]
    assert [loaded.recipe.version for loaded in shelf.all()] == [1]


def test_the_baseline_lies_beside_the_recipe_that_names_it(tmp_path: Path) -> None:
    text = TEXT + f"gates: {{baseline: {{file: cap.baseline.json, sha256: {'a' * 64}}}}}\n"

    installed = Shelf(tmp_path).install(text, baseline=b"{}")

    assert Path(installed.file).with_name("cap.baseline.json").read_bytes() == b"{}"


@pytest.mark.parametrize(("name", "version"), [("cpa", None), ("cap", 3), ("..", None)])
def test_an_unknown_recipe_is_answered_with_those_there_are(
    tmp_path: Path, name: str, version: int | None
) -> None:
    shelf = Shelf(tmp_path)
    shelf.install(TEXT)

    with pytest.raises(UnknownRecipe, match=r"installed: (cap|1)"):
        shelf.get(name, version)


def test_a_damaged_file_on_the_shelf_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    Path(shelf.install(TEXT).file).write_text("recipe: cap\n")

    with pytest.raises(BadFile):
        shelf.get("cap")
