"""What good parts look like at one station: the numbers that relative gates compare with.

Kept as a JSON file beside the recipe, which names it by its hash. Knows regions, not questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from lineside.daemon.gates.measure import SKETCH, grey_of, measure, sketch_of
from lineside.daemon.recipes.load import LoadedRecipe
from lineside.daemon.values import Picture
from lineside.daemon.yamlfile import Strict

FORMAT = 1
FEWEST_PARTS = 5
"""Fewer good parts say too little about what is usual."""
WHOLE = "*"
"""Stands for the whole frame or part, where a question names no region."""
_SCALE = 10_000


class BadBaseline(Exception):
    """A baseline that is missing, altered, or cannot be learnt; the message says what to do."""


class RegionBaseline(Strict):
    """One region over good parts."""

    parts: int = Field(ge=FEWEST_PARTS)
    sharpness: float = Field(ge=0)  # the median
    darkest: float = Field(ge=0, le=255)  # means: the lowest and highest seen
    brightest: float = Field(ge=0, le=255)
    glare: float = Field(ge=0, le=1)  # the largest spot seen
    sketch: tuple[int, ...] = Field(min_length=SKETCH * SKETCH, max_length=SKETCH * SKETCH)


class _Stored(Strict):
    format: int = Field(ge=FORMAT, le=FORMAT)
    regions: dict[str, RegionBaseline]


@dataclass(frozen=True, slots=True)
class Reference:
    """A region's baseline with its outlines ready to compare."""

    numbers: RegionBaseline
    sketch: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Good parts at one station, by region."""

    regions: Mapping[str, Reference]

    def of(self, region: str | None) -> Reference | None:
        """The reference of a region (None: the whole); None when it was not learnt."""
        return self.regions.get(region or WHOLE)

    def to_json(self) -> bytes:
        """The file's content; the same baseline gives the same bytes."""
        stored = _Stored(format=FORMAT, regions={name: ref.numbers for name, ref in self.regions.items()})
        return (
            json.dumps(stored.model_dump(mode="json"), sort_keys=True, separators=(",", ":")) + "\n"
        ).encode()


def learn_baseline(crops: Mapping[str | None, Sequence[Picture]]) -> Baseline:
    """The baseline of good parts' crops, by region.

    Raises:
        BadBaseline: fewer than `FEWEST_PARTS` pictures of a region.
    """
    regions: dict[str, Reference] = {}
    for region, pictures in crops.items():
        if len(pictures) < FEWEST_PARTS:
            where = "the whole part" if region is None else f"region '{region}'"
            raise BadBaseline(
                f"{len(pictures)} pictures of {where}: at least {FEWEST_PARTS} good parts are needed"
            )
        greys = [grey_of(picture) for picture in pictures]
        seen = [measure(grey) for grey in greys]
        mean_sketch = np.mean([sketch_of(grey) for grey in greys], axis=0)
        length = max(float(np.linalg.norm(mean_sketch)), 1e-6)
        numbers = RegionBaseline(
            parts=len(pictures),
            sharpness=float(np.median([quality.sharpness for quality in seen])),
            darkest=min(quality.mean for quality in seen),
            brightest=max(quality.mean for quality in seen),
            glare=max(quality.glare for quality in seen),
            sketch=tuple(round(v) for v in (mean_sketch / length * _SCALE).ravel().tolist()),
        )
        regions[region or WHOLE] = _ready(numbers)
    return Baseline(regions)


def read_baseline(content: bytes) -> Baseline:
    """The baseline in a file's content. Raises BadBaseline."""
    try:
        stored = _Stored.model_validate_json(content)
    except ValidationError as error:
        raise BadBaseline(f"not a baseline of format {FORMAT}: {error.errors()[0]['msg']}") from None
    return Baseline({name: _ready(numbers) for name, numbers in stored.regions.items()})


def load_baseline(loaded: LoadedRecipe) -> Baseline | None:
    """The baseline that a recipe names, from the file beside it; None when it names none.

    Raises:
        BadBaseline: the file is missing, is not the one that the recipe means, or lacks a region.
    """
    named = loaded.recipe.gates.baseline
    if named is None:
        return None
    path = Path(loaded.file).parent / named.file
    again = f"make it again with `lineside recipe learn-gates {loaded.file} IMAGES…`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadBaseline(f"{path} cannot be read ({error.strerror}): {again}") from error
    if hashlib.sha256(content).hexdigest() != named.sha256:
        raise BadBaseline(f"{path} is not the baseline that the recipe was made with: {again}")
    baseline = read_baseline(content)
    for name in (name for ask in loaded.recipe.ask for name in ask.places):
        if baseline.of(name) is None:
            raise BadBaseline(f"{path} does not know region '{name or WHOLE}': {again}")
    return baseline


def _ready(numbers: RegionBaseline) -> Reference:
    sketch = np.array(numbers.sketch, dtype=np.float32).reshape(SKETCH, SKETCH) / np.float32(_SCALE)
    return Reference(numbers, sketch)
