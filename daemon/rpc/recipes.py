"""RecipeService: the installed recipe versions, and which one a station judges by."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

import grpc

from lineside.daemon.ports import RunningAppliance, StationState
from lineside.daemon.recipes.load import parse_recipe
from lineside.daemon.rpc import convert
from lineside.daemon.rpc.asking import checked_request_id
from lineside.daemon.rpc.desks import Desks, request_key
from lineside.daemon.rpc.errors import bad_field, etag_mismatch, not_found
from lineside.daemon.rpc.names import check_device, child_id
from lineside.daemon.rpc.paging import page_of
from lineside.daemon.rpc.stations import station_of
from lineside.daemon.values import RecipeRef
from lineside.daemon.yamlfile import BadFile
from lineside.v1 import recipes_pb2, recipes_pb2_grpc, results_pb2

_VERSION = re.compile(r"[1-9][0-9]{0,11}")


class RecipeService(recipes_pb2_grpc.RecipeServiceServicer):
    """Answers from the running appliance. One change of a recipe at a time."""

    def __init__(self, appliance: RunningAppliance, desks: Desks) -> None:
        self._appliance = appliance
        self._desk = desks.desk
        self._changing = threading.Lock()

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

    def ValidateRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.ValidateRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.ValidateRecipeResponse:
        """Checks a recipe's text and installs nothing."""
        check_device(request.parent, self._appliance.device().device, "parent")
        try:
            loaded = parse_recipe(request.text, "recipe")
        except BadFile as error:
            problems = [
                recipes_pb2.RecipeProblem(line=one.line, key=one.key, message=one.message)
                for one in error.problems
            ]
            return recipes_pb2.ValidateRecipeResponse(problems=problems)
        return recipes_pb2.ValidateRecipeResponse(recipe=convert.recipe_ref(loaded.ref))

    def CreateRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.CreateRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.CreateRecipeResponse:
        """Installs a recipe version; the same content again changes nothing."""
        device = self._appliance.device().device
        check_device(request.parent, device, "parent")
        checked_request_id(request.request_id)
        ref, text = self._appliance.create_recipe(
            request.text, request.baseline or None, dict(request.goldens)
        )
        return recipes_pb2.CreateRecipeResponse(
            recipe=convert.recipe(ref, text, self._judging_by(ref), device)
        )

    def ActivateRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.ActivateRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.ActivateRecipeResponse:
        """Makes one recipe version the one a station judges by."""
        state, device = station_of(self._appliance, request.station, "station")
        recipe, version = recipe_and_version(request.recipe, device, "recipe")
        now, before = self._once(
            state,
            request,
            lambda expects: self._appliance.activate_recipe(state.station, recipe, version, expects),
        )
        return recipes_pb2.ActivateRecipeResponse(recipe=now, previous=before)

    def RollBackRecipe(  # noqa: N802 - the contract's name
        self, request: recipes_pb2.RollBackRecipeRequest, context: grpc.ServicerContext
    ) -> recipes_pb2.RollBackRecipeResponse:
        """Makes the version before active again."""
        state, _ = station_of(self._appliance, request.station, "station")
        now, before = self._once(
            state, request, lambda expects: self._appliance.roll_back_recipe(state.station, expects)
        )
        return recipes_pb2.RollBackRecipeResponse(recipe=now, previous=before)

    def _once(
        self,
        state: StationState,
        request: recipes_pb2.ActivateRecipeRequest | recipes_pb2.RollBackRecipeRequest,
        act: Callable[[RecipeRef | None], tuple[RecipeRef, RecipeRef]],
    ) -> tuple[results_pb2.RecipeRef, results_pb2.RecipeRef]:
        """Acts, once for each `request_id`; the answer of the first time is given again."""
        key = request_key(f"recipe/{state.station}", request, request.request_id)
        with self._changing:
            known = self._desk.outcome(key) if key is not None else None
            if known is not None:
                return json_refs(known)
            if request.etag and request.etag != convert.station_etag(state.recipe):
                raise etag_mismatch(f"station '{state.station}' judges by another recipe by now")
            now, before = act(state.recipe if request.etag else None)
            if key is not None:
                self._desk.remember(key, refs_json(now, before))
        return convert.recipe_ref(now), convert.recipe_ref(before)

    def _judging_by(self, ref: RecipeRef) -> tuple[str, ...]:
        return tuple(state.station for state in self._appliance.stations() if state.recipe == ref)


def recipe_and_version(name: str, device: str, field: str) -> tuple[str, int | None]:
    """A recipe's id and version from its resource name; None where the name has no version.

    Raises:
        RpcFault: INVALID_ARGUMENT, NOT_FOUND.
    """
    recipe, at, version = child_id(name, "recipes", device, field).partition("@")
    if at and not _VERSION.fullmatch(version):
        raise bad_field(field, f"'{version}' is no version: a whole number from 1 is wanted")
    return recipe, int(version) if at else None


def refs_json(now: RecipeRef, before: RecipeRef) -> str:
    """Two recipe versions as they are remembered for a repeated call."""
    return json.dumps([[ref.name, ref.version, ref.hash] for ref in (now, before)])


def json_refs(kept: str) -> tuple[results_pb2.RecipeRef, results_pb2.RecipeRef]:
    """What `refs_json` wrote."""
    now, before = (
        RecipeRef(str(name), int(version), str(digest)) for name, version, digest in json.loads(kept)
    )
    return convert.recipe_ref(now), convert.recipe_ref(before)
