"""The recipes of a simulated device: checked roughly, kept by version, one of them active at its station."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import grpc

from lineside.dashboard.studio.form import Problem, form_of
from lineside.v1 import recipes_pb2, recipes_pb2_grpc, results_pb2

RECIPE_TEXT = """\
recipe: cap-check
version: {version}
trigger: {{kind: motion, region: [0.3, 0.1, 0.7, 0.9]}}
regions: {{cap: [0.36, 0.16, 0.64, 0.46]}}
ask:
  - id: cap
    region: cap
    question: Is the cap on straight and undamaged?
    answer: {{choice: [ok, missing, tilted, cracked]}}
    fail_when: [missing, tilted, cracked]
    min_confidence: 0.9
limits: {{deadline_ms: 400}}
"""


@dataclass(slots=True)
class RecipeBench(recipes_pb2_grpc.RecipeServiceServicer):
    """Texts by name and version. Used in one event loop."""

    station: str
    version: int
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    active: tuple[str, int] = ("", 0)
    previous: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        self.active = ("cap-check", self.version)
        self.texts[self.active] = RECIPE_TEXT.format(version=self.version)

    def ref(self, which: tuple[str, int]) -> results_pb2.RecipeRef:
        """A version's identity."""
        return results_pb2.RecipeRef(recipe=which[0], version=which[1], hash=_hash(self.texts[which]))

    # What the protos promise.

    async def ListRecipes(self, request: Any, context: Any) -> recipes_pb2.ListRecipesResponse:  # noqa: N802
        """Every version, without its text."""
        return recipes_pb2.ListRecipesResponse(
            recipes=[self._recipe(which, "") for which in sorted(self.texts)]
        )

    async def GetRecipe(self, request: Any, context: Any) -> recipes_pb2.GetRecipeResponse:  # noqa: N802
        """One version with its text."""
        which = await self._which(request.name, context)
        return recipes_pb2.GetRecipeResponse(recipe=self._recipe(which, self.texts[which]))

    async def ValidateRecipe(  # noqa: N802
        self, request: Any, context: Any
    ) -> recipes_pb2.ValidateRecipeResponse:
        """What is wrong with a text: far less than a real device finds."""
        form = form_of(request.text)
        if form.problems:
            return recipes_pb2.ValidateRecipeResponse(problems=[_told(one) for one in form.problems])
        ref = results_pb2.RecipeRef(recipe=form.recipe, version=form.version, hash=_hash(request.text))
        return recipes_pb2.ValidateRecipeResponse(recipe=ref)

    async def CreateRecipe(self, request: Any, context: Any) -> recipes_pb2.CreateRecipeResponse:  # noqa: N802
        """Keeps a version."""
        form = form_of(request.text)
        if form.problems:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, form.problems[0].message)
        which = (form.recipe, form.version)
        if self.texts.get(which, request.text) != request.text:
            await context.abort(
                grpc.StatusCode.ALREADY_EXISTS, f"version {form.version} holds another content: raise it"
            )
        self.texts[which] = request.text
        return recipes_pb2.CreateRecipeResponse(recipe=self._recipe(which, request.text))

    async def ActivateRecipe(  # noqa: N802
        self, request: Any, context: Any
    ) -> recipes_pb2.ActivateRecipeResponse:
        """Judges by a version from now on."""
        which = await self._which(request.recipe, context)
        if which != self.active:
            self.previous, self.active = self.active, which
        previous = self.ref(self.previous) if self.previous else None
        return recipes_pb2.ActivateRecipeResponse(recipe=self.ref(which), previous=previous)

    async def RollBackRecipe(  # noqa: N802
        self, request: Any, context: Any
    ) -> recipes_pb2.RollBackRecipeResponse:
        """Judges by the version before."""
        if self.previous is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "there is no version before")
            raise AssertionError
        self.previous, self.active = self.active, self.previous
        return recipes_pb2.RollBackRecipeResponse(
            recipe=self.ref(self.active), previous=self.ref(self.previous)
        )

    async def _which(self, name: str, context: Any) -> tuple[str, int]:
        recipe, _, version = name.rsplit("/", 1)[-1].partition("@")
        versions = [held for known, held in self.texts if known == recipe]
        which = (recipe, int(version or max(versions, default=0)))
        if which not in self.texts:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no recipe '{recipe}@{version}' is installed")
        return which

    def _recipe(self, which: tuple[str, int], text: str) -> recipes_pb2.Recipe:
        stations = [self.station] if which == self.active else []
        name = f"devices/-/recipes/{which[0]}@{which[1]}"
        return recipes_pb2.Recipe(name=name, recipe=self.ref(which), text=text, stations=stations)


def _told(one: Problem) -> recipes_pb2.RecipeProblem:
    return recipes_pb2.RecipeProblem(line=one.line, key=one.key, message=one.message)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
