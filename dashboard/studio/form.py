"""The form of a recipe's text, where no device is there to check it: YAML, a name, questions, regions.

A device knows the whole schema, and its word counts: what passes here alone is called unchecked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

LARGEST_TEXT = 64 * 1024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `line` counts from 1; 0 when no single line is to blame. `key` may be empty."""

    line: int
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Form:
    """What could be read of a text. `regions` are x0, y0, x1, y1 as fractions, by name."""

    recipe: str = ""
    version: int = 1
    regions: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def form_of(text: str) -> Form:
    """Reads a text; never raises for one that is wrong."""
    if len(text.encode()) > LARGEST_TEXT:
        return Form(problems=(Problem(0, "", f"the text is longer than {LARGEST_TEXT} bytes"),))
    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        return Form(problems=(Problem(line, "", f"not YAML: {error.problem}"),))
    except (YAMLError, ValueError, RecursionError) as error:
        return Form(problems=(Problem(0, "", f"not YAML: {error}"[:300]),))
    if not isinstance(tree, dict):
        return Form(problems=(Problem(1, "", "a recipe is a section of keys, such as `recipe: cap-check`"),))
    return _read(tree)


def _read(tree: dict[object, object]) -> Form:
    problems: list[Problem] = []
    recipe, version = tree.get("recipe"), tree.get("version", 1)
    if not isinstance(recipe, str) or not NAME.fullmatch(recipe):
        problems.append(Problem(0, "recipe", "the recipe needs a name of letters, digits, _ . -"))
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        problems.append(Problem(0, "version", "the version is a whole number from 1"))
    asks = tree.get("ask")
    if not isinstance(asks, list) or not asks:
        problems.append(Problem(0, "ask", "a recipe asks at least one question"))
    given = tree.get("regions") or {}
    regions: dict[str, tuple[float, float, float, float]] = {}
    for name, box in given.items() if isinstance(given, dict) else ():
        read = _box(box)
        if read is None:
            message = "a region is [x0, y0, x1, y1], each from 0 to 1, with x0 < x1 and y0 < y1"
            problems.append(Problem(0, f"regions.{name}", message))
        else:
            regions[str(name)] = read
    thresholds = {
        str(ask["id"]): _threshold(ask.get("min_confidence", 0.9))
        for ask in (asks if isinstance(asks, list) else ())
        if isinstance(ask, dict) and "id" in ask
    }
    if problems:
        return Form(regions=regions, thresholds=thresholds, problems=tuple(problems))
    assert isinstance(recipe, str)
    assert isinstance(version, int)
    return Form(recipe, version, regions, thresholds)


def _box(box: object) -> tuple[float, float, float, float] | None:
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in box):
        return None
    x0, y0, x1, y1 = (float(n) for n in box)
    return (x0, y0, x1, y1) if 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 else None


def _threshold(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.9
