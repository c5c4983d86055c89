"""A recipe from YAML text, with the hash that says exactly which recipe judged a part.

The hash covers the validated content, not the text: comments and spelled-out defaults do not change it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lineside.daemon.recipes.schema import Recipe
from lineside.daemon.values import RecipeRef
from lineside.daemon.yamlfile import BadFile, Problem, parse


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe that passed its checks. `text`: the YAML as written. `file`: where from, for messages."""

    recipe: Recipe
    text: str
    file: str

    @property
    def ref(self) -> RecipeRef:
        """Name, version and hash, as results carry them."""
        return RecipeRef(self.recipe.recipe, self.recipe.version, content_hash(self.recipe))


_LATER_KEYS = ("regions", "golden", "clip")
"""Keys of a question that the first recipes did not have: where unused they do not count, so that new
software does not make another recipe of an old file."""


def content_hash(recipe: Recipe) -> str:
    """sha256, hex, of the canonical JSON of the validated recipe."""
    fields = recipe.model_dump(mode="json")
    for ask in fields["ask"]:
        for key in _LATER_KEYS:
            if not ask[key]:
                del ask[key]
    content = json.dumps(
        fields,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(content.encode()).hexdigest()


def parse_recipe(text: str, file: str) -> LoadedRecipe:
    """Checks recipe text; `file` is what errors call it.

    Raises:
        BadFile: with every problem's line, key and the nearest right key.
    """
    return LoadedRecipe(parse(text, Recipe, file=file), text, file)


def load_recipe(path: Path) -> LoadedRecipe:
    """Reads and checks a recipe file. Raises BadFile."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(str(path), [Problem(1, "", f"cannot be read: {error}")]) from error
    return parse_recipe(text, str(path))
