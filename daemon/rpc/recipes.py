"""RecipeService: the installed recipe versions, and which one a station judges by."""

from __future__ import annotations

import grpc

from lineside.daemon.ports import RunningAppliance
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.errors import bad_field, not_found
from lineside.daemon.rpc.names import check_device, child_id
from lineside.daemon.rpc.paging import page_of
from lineside.daemon.rpc.stations import station_of
from lineside.daemon.values import RecipeRef
from lineside.v1 import recipes_pb2, recipes_pb2_grpc


class RecipeService(recipes_pb2_grpc.RecipeServiceServicer):
    """Answers from the running appliance; holds no state."""

    def __init__(self, appliance: RunningAppliance) -> None:
        self._appliance = appliance

    def ListRecipes(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.ListRecipesRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.ListRecipesResponse:
        """Every installed recipe version, without the text."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        page, token = page_of(
            self._appliance.recipes(),
            lambda pair: f"{pair[0].name}@{pair[0].version:012d}",
            request.page_size,
            request.page_token,
            {"list": "recipes"},
        )
        return recipes_pb2.ListRecipesResponse(
            recipes=[convert.recipe(ref, "", self._judging_by(ref), device) for ref, _ in page],
            next_page_token=token,
        )

    def GetRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.GetRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.GetRecipeResponse:
        """One recipe version with its text; the newest one when none is named."""
        device = self._appliance.device().device
        recipe, _, version = child_id(request.name, "recipes", device, "name").partition("@")
        found = [
            (ref, text)
            for ref, text in self._appliance.recipes()
            if ref.name == recipe and version in {"", str(ref.version)}
        ]
        if not found:
            raise not_found("Recipe", request.name, f"no recipe '{request.name}' is installed")
        ref, text = max(found, key=lambda pair: pair[0].version)
        return recipes_pb2.GetRecipeResponse(recipe=convert.recipe(ref, text, self._judging_by(ref), device))

    def SelectRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.SelectRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.SelectRecipeResponse:
        """Makes a recipe the one a station judges by."""
        state, device = station_of(self._appliance, request.station, "station")
        recipe, _, version = child_id(request.recipe, "recipes", device, "recipe").partition("@")
        if version:
            raise bad_field("recipe", "a version may not be named: the newest installed one is selected")
        if recipe not in {ref.name for ref, _ in self._appliance.recipes()}:
            raise not_found("Recipe", request.recipe, f"no recipe '{recipe}' is installed")
        selected = self._appliance.select_recipe(state.station, recipe)
        return recipes_pb2.SelectRecipeResponse(recipe=convert.recipe_ref(selected))

    def _judging_by(self, ref: RecipeRef) -> tuple[str, ...]:
        return tuple(state.station for state in self._appliance.stations() if state.recipe == ref)
