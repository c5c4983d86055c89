"""The recipes a device may judge by: those its settings name, and those installed since.

Knows which recipe each station used last, so that a restart goes on with it. Knows nothing of parts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from lineside.daemon.gates.baseline import load_baseline
from lineside.daemon.inspection.plan import Plan, make_plan
from lineside.daemon.ports import UnknownName
from lineside.daemon.recipes.load import load_recipe
from lineside.daemon.settings import StationSettings
from lineside.daemon.store.store import Store
from lineside.daemon.values import RecipeRef


class RecipeBook:
    """Recipes by name. Thread-safe. `open` reads the files the settings name."""

    def __init__(self, stations: Sequence[StationSettings], store: Store) -> None:
        self._stations = stations
        self._store = store
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}

    def open(self) -> None:
        """Reads and checks every recipe. Raises BadFile, BadBaseline."""
        for settings in self._stations:
            self._add(load_plan(settings.recipe))

    def plan_for(self, settings: StationSettings) -> Plan:
        """The recipe a station starts with: the one selected last, else the one its settings name."""
        own = load_recipe(settings.recipe).recipe.recipe
        remembered = self._store.state(_key(settings.id))
        with self._lock:
            return self._plans.get(remembered or own, self._plans[own])

    def plan(self, name: str) -> Plan:
        """The recipe of that name, ready to run. Raises UnknownName."""
        with self._lock:
            if name in self._plans:
                return self._plans[name]
            known = ", ".join(sorted(self._plans))
        raise UnknownName(f"there is no recipe '{name}'; there are: {known}")

    def remember(self, station: str, name: str) -> None:
        """Notes that a station judges by this recipe now."""
        self._store.set_state(_key(station), name)

    def all(self) -> list[tuple[RecipeRef, str]]:
        """Every recipe with its text."""
        with self._lock:
            return [(plan.ref, plan.loaded.text) for plan in self._plans.values()]

    def _add(self, plan: Plan) -> None:
        with self._lock:
            self._plans[plan.ref.name] = plan


def load_plan(path: Path) -> Plan:
    """A recipe file with its baseline, ready to run. Raises BadFile, BadBaseline."""
    loaded = load_recipe(path)
    return make_plan(loaded, load_baseline(loaded))


def _key(station: str) -> str:
    return f"station.{station}.recipe"
