"""The recipes a device may judge by: those its settings name, and those on its shelf.

Knows which recipe each station used last, so that a restart goes on with it. Knows nothing of parts.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.daemon.gates.baseline import BadBaseline, load_baseline
from lineside.daemon.inspection.plan import Plan, make_plan
from lineside.daemon.ports import UnknownName
from lineside.daemon.recipes.golden import load_goldens
from lineside.daemon.recipes.load import LoadedRecipe, load_recipe, parse_recipe
from lineside.daemon.recipes.shelf import Shelf, VersionTaken
from lineside.daemon.settings import StationSettings
from lineside.daemon.store.store import Store
from lineside.daemon.values import RecipeRef
from lineside.daemon.yamlfile import BadFile

LOG = structlog.get_logger("recipes")
SHELF = "recipes"
"""The shelf's folder in the device's data folder."""


class RecipeBook:
    """Recipes by name and version; of two alike, the file that the settings name. Thread-safe.

    The shelf is read when asked, so that a recipe installed while the daemon runs can be selected.
    """

    def __init__(self, stations: Sequence[StationSettings], shelf: Shelf, store: Store) -> None:
        self._stations = stations
        self._shelf = shelf
        self._store = store
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}

    def open(self) -> None:
        """Reads and checks every recipe the settings name. Raises BadFile, BadBaseline."""
        plans = [load_plan(settings.recipe) for settings in self._stations]
        with self._lock:
            self._plans = {plan.ref.name: plan for plan in plans}

    def plan_for(self, settings: StationSettings) -> Plan:
        """The recipe a station starts with: the one selected last, else the one its settings name.

        Settings that were edited since then go first: somebody wanted what stands there.
        """
        own = load_plan(settings.recipe)
        kept = self._store.state(_key(settings.id))
        if kept is None:
            return own
        selected = _read_selected(kept)
        if selected.own not in {"", own.ref.hash} or (selected.name == own.ref.name and not selected.version):
            return own
        try:
            return self.plan(selected.name, selected.version)
        except (UnknownName, BadFile, BadBaseline) as error:
            LOG.error("the recipe selected last is gone", station=settings.id, because=str(error))
            return own

    def plan(self, name: str, version: int | None = None) -> Plan:
        """A recipe, ready to run; without a version the highest. Raises UnknownName, BadFile, BadBaseline."""
        with self._lock:
            named = self._plans.get(name)
        on_shelf = self._shelf.versions(name)
        have = {*on_shelf, *([named.ref.version] if named is not None else [])}
        wanted = version if version is not None else max(have, default=None)
        if named is not None and wanted == named.ref.version:
            return named
        if wanted is not None and wanted in on_shelf:
            return ready(self._shelf.get(name, wanted))
        raise UnknownName(f"there is no recipe '{_at(name, version)}'; there are: {', '.join(self._known())}")

    def install(self, text: str, baseline: bytes | None, goldens: Mapping[str, bytes]) -> LoadedRecipe:
        """Puts a recipe version on the shelf. Raises BadFile, BadBaseline, VersionTaken."""
        given = parse_recipe(text, "recipe")
        with self._lock:
            named = self._plans.get(given.recipe.recipe)
        if named is not None and named.ref.version == given.recipe.version and named.ref != given.ref:
            raise VersionTaken(
                f"the device's settings name recipe '{named.ref.name}' version {named.ref.version} with "
                "another content: raise its version"
            )
        with tempfile.TemporaryDirectory(prefix="lineside-recipe-") as place:
            # Somewhere else first: what cannot be run must not lie on the shelf under its version for ever.
            ready(Shelf(Path(place)).install(text, baseline=baseline, goldens=goldens))
        return self._shelf.install(text, baseline=baseline, goldens=goldens)

    def remember(self, settings: StationSettings, ref: RecipeRef, previous: RecipeRef) -> None:
        """Notes that a station judges by this recipe now, and what it judged by before."""
        own = load_plan(settings.recipe).ref.hash
        selected = {"recipe": ref.name, "version": ref.version, "own": own}
        self._store.set_state(_key(settings.id), json.dumps(selected))
        if previous != ref:
            before = {"recipe": previous.name, "version": previous.version, "hash": previous.hash}
            self._store.set_state(_previous_key(settings.id), json.dumps(before))

    def previous(self, station: str) -> RecipeRef | None:
        """What a station judged by before; None when it never changed."""
        kept = self._store.state(_previous_key(station))
        if kept is None:
            return None
        found = json.loads(kept)
        return RecipeRef(str(found["recipe"]), int(found["version"]), str(found["hash"]))

    def all(self) -> list[tuple[RecipeRef, str]]:
        """Every recipe version with its text."""
        with self._lock:
            loaded = [plan.loaded for plan in self._plans.values()]
        named = {(one.recipe.recipe, one.recipe.version) for one in loaded}
        loaded += [one for one in self._shelf.all() if (one.recipe.recipe, one.recipe.version) not in named]
        return [(one.ref, one.text) for one in loaded]

    def _known(self) -> list[str]:
        with self._lock:
            named = set(self._plans)
        return sorted({*named, *self._shelf.names()})


@dataclass(frozen=True, slots=True)
class _Selected:
    """What was selected last. `own`: hash of what the settings named then; empty where that was not noted."""

    name: str
    version: int | None
    own: str


def _read_selected(kept: str) -> _Selected:
    if not kept.startswith("{"):
        return _Selected(kept, None, "")  # as the first release wrote it
    found = json.loads(kept)
    return _Selected(str(found["recipe"]), int(found["version"]), str(found["own"]))


def _at(name: str, version: int | None) -> str:
    return name if version is None else f"{name}@{version}"


def load_plan(path: Path) -> Plan:
    """A recipe file with its baseline and golden references, ready to run. Raises BadFile, BadBaseline."""
    return ready(load_recipe(path))


def ready(loaded: LoadedRecipe) -> Plan:
    """A recipe with its baseline and golden references, ready to run. Raises BadFile, BadBaseline."""
    return make_plan(loaded, load_baseline(loaded), load_goldens(loaded))


def _key(station: str) -> str:
    return f"station.{station}.recipe"


def _previous_key(station: str) -> str:
    return f"station.{station}.previous"
