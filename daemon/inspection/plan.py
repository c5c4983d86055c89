"""A recipe made ready to run: what to ask of which place, in the engine's terms.

Made once when a recipe becomes active. Knows recipes and the engine's values; asks nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lineside.daemon.gates.baseline import Baseline
from lineside.daemon.recipes.asks import Ask, ChoiceAnswer, CountAnswer, TextAnswer
from lineside.daemon.recipes.load import LoadedRecipe
from lineside.daemon.recipes.sight import ClipOption
from lineside.daemon.values import Box, Picture, RecipeRef
from lineside.engines.base import Choice, Count, Grammar, Prompt, Text


@dataclass(frozen=True, slots=True)
class Look:
    """One question: where it looks (before the part's box is known) and what the engine is asked.

    `places`: the recipe's name of each place (None: the whole) and its region. `golden`: BGR, shown first.
    """

    ask: str
    kind: str
    places: tuple[tuple[str | None, Box], ...]
    prompt: Prompt
    grammar: Grammar
    golden: Picture | None = field(default=None, compare=False)
    clip: ClipOption | None = None


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

    @property
    def clips(self) -> tuple[ClipOption, ...]:
        """What its questions need of the seconds before a trigger, each once."""
        return tuple(dict.fromkeys(look.clip for look in self.looks if look.clip is not None))


def make_plan(
    loaded: LoadedRecipe, baseline: Baseline | None = None, goldens: Mapping[str, Picture] | None = None
) -> Plan:
    """Compiles a recipe. `goldens`: the golden references of its questions, by question."""
    recipe = loaded.recipe
    sights = Counter(_sight(ask) for ask in recipe.ask)
    looks = tuple(
        Look(
            ask=ask.id,
            kind=ask.answer.kind,
            places=tuple(recipe.places_of(ask).items()),
            prompt=_prompt(ask, shared=sights[_sight(ask)] > 1),
            grammar=_grammar(ask),
            golden=(goldens or {}).get(ask.id),
            clip=ask.clip,
        )
        for ask in recipe.ask
    )
    return Plan(loaded, looks, baseline)


def _sight(ask: Ask) -> tuple[object, ...]:
    """All that a question is shown: the same for two questions, the engine need read it only once."""
    return ask.places, ask.golden, ask.clip


def _prompt(ask: Ask, *, shared: bool) -> Prompt:
    """A question of its own crop comes before the picture, so that its words are read once, not once a part.

    Questions that share what they look at come after it: the picture is read once, not once a question.
    An engine trained on whole questions puts the words where it was trained to have them, either way.
    """
    return Prompt(question=ask.question) if shared else Prompt(instruction=ask.question)


def _grammar(ask: Ask) -> Grammar:
    match ask.answer:
        case ChoiceAnswer(choice=values):
            return Choice(values)
        case CountAnswer(count=(minimum, maximum)):
            return Count(minimum, maximum)
        case TextAnswer(text=pattern, max_length=longest):
            return Text(pattern, longest)
