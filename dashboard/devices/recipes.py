"""What a recipe says that a screen needs: its deadline and its questions' words.

Regions are not read: they may be fractions of the part, and where the engine looked comes with each
result. Reads the recipe's text as the device gives it, tolerantly: what it does not understand is left
out, never guessed. Whether a recipe is valid is the device's matter.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lineside.dashboard.devices.values import Recipe

LARGEST_TEXT = 256 * 1024
KEPT = 64


@dataclass(frozen=True, slots=True)
class RecipeCard:
    """The part of a recipe that is drawn. Questions, and answers that fail the part, by ask id."""

    deadline_ms: float | None = None
    questions: Mapping[str, str] = field(default_factory=dict)
    failing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


EMPTY_CARD = RecipeCard()


def read_card(text: str) -> RecipeCard:
    """Reads a recipe's YAML; an empty card where it is not a recipe."""
    if len(text) > LARGEST_TEXT:
        return EMPTY_CARD
    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        return EMPTY_CARD
    if not isinstance(tree, dict):
        return EMPTY_CARD
    limits, asks = tree.get("limits"), tree.get("ask")
    questions = [a for a in asks if isinstance(a, dict)] if isinstance(asks, list) else []
    return RecipeCard(
        deadline_ms=_number(limits.get("deadline_ms")) if isinstance(limits, dict) else None,
        questions={
            str(a["id"]): str(a["question"])
            for a in questions
            if "id" in a and isinstance(a.get("question"), str)
        },
        failing={str(a["id"]): failing for a in questions if "id" in a and (failing := _failing(a))},
    )


def _failing(ask: Mapping[str, object]) -> tuple[str, ...]:
    """The answers of a choice that make a part bad: those listed, else all but `ok`."""
    listed = ask.get("fail_when")
    if isinstance(listed, list):
        return tuple(str(value) for value in listed)
    answer = ask.get("answer")
    choices = answer.get("choice") if isinstance(answer, dict) else None
    return tuple(str(v) for v in choices if v != "ok") if isinstance(choices, list) else ()


class RecipeCards:
    """Cards by content hash, the KEPT last used. Thread-safe; the fetch runs outside the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cards: OrderedDict[str, RecipeCard] = OrderedDict()

    def known(self, recipe: Recipe) -> RecipeCard | None:
        """The card of a recipe version, or None when it was not read yet."""
        with self._lock:
            card = self._cards.get(recipe.hash)
            if card is not None:
                self._cards.move_to_end(recipe.hash)
            return card

    def learn(self, recipe: Recipe, fetch: Callable[[str, int], str]) -> RecipeCard:
        """The card of a recipe version, asking `fetch(name, version)` for its text the first time."""
        card = self.known(recipe)
        if card is None:
            card = read_card(fetch(recipe.name, recipe.version))
            with self._lock:
                self._cards[recipe.hash] = card
                while len(self._cards) > KEPT:
                    self._cards.popitem(last=False)
        return card


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
