"""Installed recipes: one folder a name, one folder a version, written whole or not at all.

A version means one content for ever: installing another content under the same version is refused.
Knows nothing of which recipe is active.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lineside.daemon.recipes.load import LoadedRecipe, content_hash, load_recipe, parse_recipe

RECIPE_FILE = "recipe.yaml"
_STAGING = ".staging-"


class VersionTaken(Exception):
    """Another recipe is installed under this name and version; raise the version."""


class UnknownRecipe(Exception):
    """No such recipe is installed; the message names those that are."""


class Shelf:
    """The folder of installed recipes. Constructing it does no I/O."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(
        self,
        text: str,
        *,
        baseline: bytes | None = None,
        goldens: Mapping[str, bytes] | None = None,
        file: str = "recipe",
    ) -> LoadedRecipe:
        """Checks a recipe and puts it on the shelf; the same content again changes nothing.

        `baseline`: the content of the file its gates name; `goldens`: question id → the content of the
        reference it names. `file`: what errors call the text.

        Raises:
            BadFile: the text is no recipe.
            VersionTaken: this version holds another content.
        """
        loaded = parse_recipe(text, file)
        name, version = loaded.recipe.recipe, loaded.recipe.version
        place = self._folder / name / str(version)
        if place.exists():
            return self._same_as_installed(loaded, place)
        place.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=place.parent))
        try:
            _write(staging / RECIPE_FILE, text.encode())
            named = loaded.recipe.gates.baseline
            if named is not None and baseline is not None:
                _write(staging / named.file, baseline)
            for ask in loaded.recipe.ask:
                if ask.golden is not None and goldens is not None and ask.id in goldens:
                    _write(staging / ask.golden.file, goldens[ask.id])
            _sync(staging)
            try:
                staging.rename(place)
            except OSError:
                if not place.exists():
                    raise
                return self._same_as_installed(loaded, place)  # somebody else was quicker
            _sync(place.parent)
        finally:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(staging)
        return load_recipe(place / RECIPE_FILE)

    def all(self) -> list[LoadedRecipe]:
        """Every installed recipe, by name, then by version. Raises BadFile for one that was damaged."""
        return [load_recipe(path / RECIPE_FILE) for name in self.names() for _, path in self._versions(name)]

    def names(self) -> list[str]:
        """The names of installed recipes."""
        if not self._folder.is_dir():
            return []
        return sorted(
            path.name for path in self._folder.iterdir() if path.is_dir() and self._versions(path.name)
        )

    def versions(self, name: str) -> list[int]:
        """The installed versions of a recipe, lowest first; none when it is not installed."""
        return [version for version, _ in self._versions(name)] if name in self.names() else []

    def get(self, name: str, version: int | None = None) -> LoadedRecipe:
        """One version of a recipe; None means the highest.

        Raises:
            UnknownRecipe: it is not installed.
            BadFile: its file was damaged.
        """
        versions = dict(self._versions(name)) if name in self.names() else {}
        if not versions:
            raise UnknownRecipe(
                f"no recipe is called '{name}'; installed: {', '.join(self.names()) or 'none'}"
            )
        wanted = max(versions) if version is None else version
        if wanted not in versions:
            known = ", ".join(str(one) for one in sorted(versions))
            raise UnknownRecipe(f"recipe '{name}' has no version {wanted}; installed: {known}")
        return load_recipe(versions[wanted] / RECIPE_FILE)

    def _versions(self, name: str) -> list[tuple[int, Path]]:
        found = [
            path for path in (self._folder / name).iterdir() if path.name.isascii() and path.name.isdigit()
        ]
        return sorted((int(path.name), path) for path in found)

    def _same_as_installed(self, loaded: LoadedRecipe, place: Path) -> LoadedRecipe:
        installed = load_recipe(place / RECIPE_FILE)
        if content_hash(installed.recipe) != content_hash(loaded.recipe):
            raise VersionTaken(
                f"recipe '{loaded.recipe.recipe}' version {loaded.recipe.version} is installed with another "
                "content: raise its version"
            )
        return installed


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Makes names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
