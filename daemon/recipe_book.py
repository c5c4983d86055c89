"""The recipes a device may judge by: those its settings name, and those on its shelf.

Knows which recipe each station used last, so that a restart goes on with it. Knows nothing of parts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from lineside.daemon.gates.baseline import BadBaseline, load_baseline
from lineside.daemon.inspection.plan import Plan, make_plan
from lineside.daemon.ports import UnknownName
from lineside.daemon.recipes.golden import load_goldens
from lineside.daemon.recipes.load import LoadedRecipe, load_recipe
from lineside.daemon.recipes.shelf import Shelf
from lineside.daemon.settings import StationSettings
from lineside.daemon.store.store import Store
from lineside.daemon.values import RecipeRef
from lineside.daemon.yamlfile import BadFile

LOG = structlog.get_logger("recipes")
SHELF = "recipes"
"""The shelf's folder in the device's data folder."""


class RecipeBook:
    """Recipes by name; a file the settings name goes before one on the shelf. Thread-safe.

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
        """The recipe a station starts with: the one selected last, else the one its settings name."""
        own = load_plan(settings.recipe)
        remembered = self._store.state(_key(settings.id))
        if remembered is None or remembered == own.ref.name:
            return own
        try:
            return self.plan(remembered)
        except (UnknownName, BadFile, BadBaseline) as error:
            LOG.error("the recipe selected last is gone", station=settings.id, because=str(error))
            return own

    def plan(self, name: str) -> Plan:
        """The recipe of that name, ready to run. Raises UnknownName, BadFile, BadBaseline."""
        with self._lock:
            named = dict(self._plans)
        if name in named:
            return named[name]
        on_shelf = self._shelf.names()
        if name in on_shelf:
            return ready(self._shelf.get(name))
        raise UnknownName(f"there is no recipe '{name}'; there are: {', '.join(sorted({*named, *on_shelf}))}")

    def remember(self, station: str, name: str) -> None:
        """Notes that a station judges by this recipe now."""
        self._store.set_state(_key(station), name)

    def all(self) -> list[tuple[RecipeRef, str]]:
        """Every recipe with its text."""
        with self._lock:
            loaded = [plan.loaded for plan in self._plans.values()]
        named = {one.recipe.recipe for one in loaded}
        loaded += [self._shelf.get(name) for name in self._shelf.names() if name not in named]
        return [(one.ref, one.text) for one in loaded]


def load_plan(path: Path) -> Plan:
    """A recipe file with its baseline and golden references, ready to run. Raises BadFile, BadBaseline."""
    return ready(load_recipe(path))


def ready(loaded: LoadedRecipe) -> Plan:
    """A recipe with its baseline and golden references, ready to run. Raises BadFile, BadBaseline."""
    return make_plan(loaded, load_baseline(loaded), load_goldens(loaded))


def _key(station: str) -> str:
    return f"station.{station}.recipe"
