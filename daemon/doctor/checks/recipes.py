"""Do the recipes hold that stations begin with?"""

from __future__ import annotations

from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.daemon.gates.baseline import BadBaseline
from lineside.daemon.recipe_book import load_plan
from lineside.daemon.yamlfile import BadFile


class RecipesCheck:
    """Each station's recipe is read as the daemon reads it."""

    name = "recipes"
    needs_settings = True

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding a station."""
        for station in subject.known.stations:
            try:
                plan = load_plan(station.recipe)
            except (BadFile, BadBaseline) as error:
                yield Finding(
                    self.name,
                    Level.FAILED,
                    f"station {station.id}: {error}",
                    f"mend it, then run `lineside recipe check {station.recipe}`",
                )
                continue
            asks = f"{len(plan.looks)} questions"
            message = f"station {station.id}: {plan.ref.name} v{plan.ref.version}, {asks}"
            yield Finding(self.name, Level.OK, message)
