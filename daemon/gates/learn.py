"""Learns a recipe's baseline from pictures of good parts, and writes it beside the recipe.

Cuts each picture as an inspection would. Knows nothing of engines: good is what the user says is good.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lineside.daemon.gates.baseline import BadBaseline, Baseline, learn_baseline
from lineside.daemon.gates.options import BaselineFile
from lineside.daemon.inspection.crops import RegionOutsideFrame, cut, place
from lineside.daemon.recipes.load import LoadedRecipe
from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.triggers.motion.locate import locate_part
from lineside.daemon.triggers.options import MotionOptions
from lineside.daemon.values import Box, Picture


@dataclass(frozen=True, slots=True)
class Learnt:
    """A baseline, and the pictures that could not be used, each with the reason."""

    baseline: Baseline
    used: int
    refused: tuple[str, ...]


def learn_from_files(recipe: Recipe, pictures: Sequence[Path]) -> Learnt:
    """The baseline of these pictures of good parts. Raises BadBaseline when too few can be used."""
    crops: dict[str | None, list[Picture]] = {name: [] for ask in recipe.ask for name in ask.places}
    refused: list[str] = []
    used = 0
    for path in pictures:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            refused.append(f"{path}: not a picture that can be read")
            continue
        try:
            found = crops_of(recipe, np.asarray(image, dtype=np.uint8))
        except RegionOutsideFrame as problem:
            refused.append(f"{path}: {problem}")
            continue
        used += 1
        for region, crop in found.items():
            crops[region].append(crop)
    if used == 0 and refused:
        raise BadBaseline(f"no picture could be used; the first: {refused[0]}")
    return Learnt(learn_baseline(crops), used, tuple(refused))


def write_baseline(loaded: LoadedRecipe, baseline: Baseline) -> BaselineFile:
    """Writes the baseline beside its recipe, whole or not at all; gives what the recipe must name."""
    recipe_path = Path(loaded.file)
    content = baseline.to_json()
    path = recipe_path.with_name(f"{loaded.recipe.recipe}.baseline.json")
    staging = path.with_name(f".{path.name}.staging")
    with staging.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staging.rename(path)
    return BaselineFile(file=path.name, sha256=hashlib.sha256(content).hexdigest())


def crops_of(recipe: Recipe, image: Picture) -> dict[str | None, Picture]:
    """The recipe's places cut out of one picture, as an inspection would. Raises RegionOutsideFrame."""
    part = _part(recipe, image)
    regions = {name: box for ask in recipe.ask for name, box in recipe.places_of(ask).items()}
    return {name: cut(image, place(region, part))[0] for name, region in regions.items()}


def _part(recipe: Recipe, image: Picture) -> Box | None:
    if recipe.anchor == "frame":
        return None
    assert isinstance(recipe.trigger, MotionOptions), "anchor part needs the motion trigger"
    part = locate_part(image, recipe.trigger)
    if part is None:
        raise RegionOutsideFrame("no part lies wholly in the trigger's region")
    return part
