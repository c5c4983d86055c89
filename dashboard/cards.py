"""What a recipe says for the screen, from the text that was kept with its version."""

from __future__ import annotations

from sqlalchemy import select

from lineside.dashboard.current import reading, surroundings
from lineside.dashboard.database.result_tables import RecipeVersion
from lineside.dashboard.devices.recipes import EMPTY_CARD, RecipeCard
from lineside.dashboard.devices.values import Recipe


def known_card(recipe: Recipe) -> RecipeCard:
    """Questions and deadline; an empty card while the recipe's text is not known."""
    cards = surroundings().cards
    known = cards.known(recipe)
    if known is not None:
        return known
    with reading() as session:
        kept = session.scalars(
            select(RecipeVersion.text)
            .where(RecipeVersion.name == recipe.name, RecipeVersion.hash == recipe.hash)
            .where(RecipeVersion.text.is_not(None))
            .limit(1)
        ).first()
    if kept is None:
        return EMPTY_CARD
    return cards.learn(recipe, lambda _name, _version: kept)
