"""`lineside recipe`: checks recipes before a line depends on them, and learns what good parts look like."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import cv2
import numpy as np
from ruamel.yaml import YAML

from lineside.daemon.gates.baseline import BadBaseline, load_baseline
from lineside.daemon.gates.learn import crops_of, learn_from_files, write_baseline
from lineside.daemon.gates.options import BaselineFile
from lineside.daemon.inspection.crops import RegionOutsideFrame
from lineside.daemon.recipes.golden import load_goldens, write_golden
from lineside.daemon.recipes.load import LoadedRecipe, content_hash, load_recipe
from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.yamlfile import BadFile, nearest

_FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
_REFUSED = 1


@click.group()
def recipe() -> None:
    """Recipes: what is asked of a part, where to look, and what passes."""


@recipe.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
def check(files: tuple[Path, ...]) -> None:
    """Checks recipe FILES: every problem with its line and the nearest right key."""
    refused = 0
    for path in files:
        try:
            loaded = load_recipe(path)
            load_baseline(loaded)
            load_goldens(loaded)
        except (BadFile, BadBaseline) as problem:
            click.echo(str(problem), err=True)
            refused += 1
        else:
            ref = loaded.ref
            click.echo(f"{path}: ok: {ref.name} version {ref.version}, {ref.hash[:12]}")
    if refused:
        sys.exit(_REFUSED)


@recipe.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="The whole recipe as JSON, defaults spelled out.")
def show(file: Path, as_json: bool) -> None:
    """Shows the recipe in FILE as the device understands it."""
    loaded = _load(file)
    if as_json:
        click.echo(
            json.dumps(
                {"hash": content_hash(loaded.recipe), "recipe": loaded.recipe.model_dump(mode="json")},
                indent=2,
                ensure_ascii=False,
            )
        )
        return
    ref = loaded.ref
    click.echo(f"{ref.name} version {ref.version} ({ref.hash[:12]}), trigger {loaded.recipe.trigger.kind}")
    for ask in loaded.recipe.ask:
        where = " + ".join(name or "everything" for name in ask.places)
        if ask.golden is not None:
            where = f"{ask.golden.file} + {where}"
        if ask.clip is not None:
            where += f", {ask.clip.frames} pictures over {ask.clip.seconds:g} s"
        click.echo(f"  {ask.id} ({ask.answer.kind}, {where}): {ask.question}")


@recipe.command()
def schema() -> None:
    """Prints the JSON Schema of recipes, for editors."""
    click.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@recipe.command("learn-gates")
@click.argument("file", type=_FILE)
@click.argument("pictures", nargs=-1, required=True, type=_FILE)
@click.option("--write", is_flag=True, help="Name the baseline in FILE instead of printing what to add.")
def learn_gates(file: Path, pictures: tuple[Path, ...], write: bool) -> None:
    """Learns from PICTURES of good parts what the station looks like, for the recipe in FILE.

    The gates then compare with it: dimmer light, a lens out of focus and a moved region are noticed.
    """
    loaded = _load(file)
    try:
        learnt = learn_from_files(loaded.recipe, pictures)
    except BadBaseline as problem:
        click.echo(str(problem), err=True)
        sys.exit(_REFUSED)
    for line in learnt.refused:
        click.echo(f"not used: {line}", err=True)
    named = write_baseline(loaded, learnt.baseline)
    click.echo(f"{file.with_name(named.file)}: learnt from {learnt.used} pictures")
    if write:
        _rewrite(file, lambda recipe: _name_baseline(recipe, named))
        click.echo(f"{file}: names it now")
    else:
        click.echo(f'add to {file}:\ngates:\n  baseline: {{file: {named.file}, sha256: "{named.sha256}"}}')


@recipe.command()
@click.argument("file", type=_FILE)
@click.argument("ask")
@click.argument("picture", type=_FILE)
@click.option("--whole", is_flag=True, help="PICTURE is the crop itself, not a whole frame to cut it from.")
@click.option("--write", is_flag=True, help="Name the reference in FILE instead of printing what to add.")
def golden(file: Path, ask: str, picture: Path, whole: bool, write: bool) -> None:
    """Makes a golden reference for question ASK of the recipe in FILE from PICTURE, a frame of a good part.

    The question's place is cut out as an inspection would, and shown to the engine before the part's own.
    """
    loaded = _load(file)
    asks = {one.id: index for index, one in enumerate(loaded.recipe.ask)}
    if ask not in asks:
        _refuse(f"{file}: no question is called '{ask}'; {nearest(ask, list(asks))}")
    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if image is None:
        _refuse(f"{picture}: not a picture that can be read")
    shown = np.asarray(image, dtype=np.uint8)
    if not whole:
        places = loaded.recipe.ask[asks[ask]].places
        if len(places) > 1:
            _refuse(f"{file}: '{ask}' looks at {len(places)} places; give the reference itself with --whole")
        try:
            shown = crops_of(loaded.recipe, shown)[places[0]]
        except RegionOutsideFrame as problem:
            _refuse(f"{picture}: {problem}")
    named = write_golden(loaded, ask, shown)
    click.echo(f"{file.with_name(named.file)}: {shown.shape[1]}x{shown.shape[0]} pixels")
    if write:
        _rewrite(file, lambda recipe: recipe["ask"][asks[ask]].update(golden=named.model_dump()))
        click.echo(f"{file}: names it now")
    else:
        click.echo(
            f'add to question {ask} in {file}:\ngolden: {{file: {named.file}, sha256: "{named.sha256}"}}'
        )


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(_REFUSED)


def _load(file: Path) -> LoadedRecipe:
    try:
        return load_recipe(file)
    except BadFile as problem:
        click.echo(str(problem), err=True)
        sys.exit(_REFUSED)


def _name_baseline(recipe: dict[str, Any], named: BaselineFile) -> None:
    recipe.setdefault("gates", {})["baseline"] = named.model_dump()


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a recipe file in one step; comments and order stay."""
    yaml = YAML()
    yaml.width = 4096
    document = yaml.load(file.read_text(encoding="utf-8"))
    change(document)
    staging = file.with_name(f".{file.name}.staging")
    with staging.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)
    staging.rename(file)
