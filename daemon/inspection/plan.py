"""A recipe made ready to run: what to ask of which place, in the engine's terms.

Made once when a recipe becomes active. Knows recipes and the engine's values; asks nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineside.daemon.gates.baseline import Baseline
from lineside.daemon.recipes.asks import Ask, ChoiceAnswer, CountAnswer, TextAnswer
from lineside.daemon.recipes.load import LoadedRecipe
from lineside.daemon.values import Box, RecipeRef
from lineside.engines.base import Choice, Count, Grammar, Prompt, Text


@dataclass(frozen=True, slots=True)
class Look:
    """One question: where it looks (before the part's box is known) and what the engine is asked."""

    ask: str
    kind: str
    region_name: str | None
    region: Box
    prompt: Prompt
    grammar: Grammar


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe version with everything an inspection needs of it."""

    loaded: LoadedRecipe
    looks: tuple[Look, ...]
    baseline: Baseline | None

    @property
    def ref(self) -> RecipeRef:
        """The one version that a result of this plan names."""
        return self.loaded.ref

    @property
    def deadline_ms(self) -> int:
        """From trigger to verdict."""
        return self.loaded.recipe.limits.deadline_ms


def make_plan(loaded: LoadedRecipe, baseline: Baseline | None = None) -> Plan:
    """Compiles a recipe. A question's words come before the picture, so that they are computed once."""
    recipe = loaded.recipe
    looks = tuple(
        Look(
            ask=ask.id,
            kind=ask.answer.kind,
            region_name=ask.region,
            region=recipe.region_of(ask),
            prompt=Prompt(instruction=ask.question),
            grammar=_grammar(ask),
        )
        for ask in recipe.ask
    )
    return Plan(loaded, looks, baseline)


def _grammar(ask: Ask) -> Grammar:
    match ask.answer:
        case ChoiceAnswer(choice=values):
            return Choice(values)
        case CountAnswer(count=(minimum, maximum)):
            return Count(minimum, maximum)
        case TextAnswer(text=pattern, max_length=longest):
            return Text(pattern, longest)
