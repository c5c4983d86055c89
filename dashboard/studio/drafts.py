"""Drafts of recipes: written by some, approved by another, never by one who wrote any of it.

A text that was approved is fixed: changed once more it is a draft again.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import update
from sqlalchemy.orm import Session

from lineside.dashboard.database.rollout_tables import RecipeDraft
from lineside.dashboard.people import audit
from lineside.dashboard.people.rights import Person


class DraftState(StrEnum):
    """Where a draft is."""

    OPEN = "open"
    PROPOSED = "proposed"
    APPROVED = "approved"
    REFUSED = "refused"


class RefusedDraft(ValueError):
    """A change that may not be made; `key` names the words that say why."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def begin(session: Session, recipe: str, base: str, text: str, who: Person, at: datetime) -> RecipeDraft:
    """A draft of a recipe, from the text of a version or from nothing."""
    draft = RecipeDraft(
        recipe=recipe, base=base, text=text, state=DraftState.OPEN.value, hash="", version=0,
        writers=[who.id], note="", revision=1, created_at=at, changed_at=at,
    )  # fmt: skip
    session.add(draft)
    session.flush()
    audit.note(session, at, who.name, "recipe.draft", f"draft {draft.id} of {recipe}", {"base": base})
    return draft


def save(
    session: Session, draft: RecipeDraft, recipe: str, text: str, revision: int, who: Person, at: datetime
) -> None:
    """Keeps a text; whoever saves it has written it. It must be proposed anew.

    Raises:
        RefusedDraft: somebody else saved it meanwhile.
    """
    _swap(
        session, draft, revision, recipe=recipe[:200], text=text, state=DraftState.OPEN.value, hash="",
        version=0, writers=sorted({*draft.writers, who.id}), changed_at=at, decided_by=None, decided_at=None,
    )  # fmt: skip
    told = {"revision": revision + 1}
    audit.note(session, at, who.name, "recipe.save", f"draft {draft.id} of {recipe}", told)


def propose(
    session: Session, draft: RecipeDraft, revision: int, hash_: str, version: int, who: Person, at: datetime
) -> None:
    """Asks another to approve a text that a device has checked.

    Raises:
        RefusedDraft: it is not open, or changed meanwhile.
    """
    if draft.state != DraftState.OPEN:
        raise RefusedDraft("draft_moved_on")
    _swap(
        session, draft, revision, state=DraftState.PROPOSED.value, hash=hash_, version=version, changed_at=at
    )
    told = {"version": version, "hash": hash_}
    audit.note(session, at, who.name, "recipe.propose", f"draft {draft.id} of {draft.recipe}", told)


def decide(
    session: Session, draft: RecipeDraft, revision: int, approve: bool, note: str, who: Person, at: datetime
) -> None:
    """Approves or refuses a proposed draft.

    Raises:
        RefusedDraft: by one who wrote it, or it is not proposed, or changed meanwhile.
    """
    if draft.state != DraftState.PROPOSED:
        raise RefusedDraft("draft_moved_on")
    if who.id in draft.writers:
        raise RefusedDraft("draft_own")
    state = DraftState.APPROVED if approve else DraftState.REFUSED
    _swap(
        session, draft, revision, state=state.value, note=note[:2000], decided_by=who.id, decided_at=at,
        changed_at=at,
    )  # fmt: skip
    told = {"version": draft.version, "hash": draft.hash, "note": note[:500]}
    audit.note(
        session, at, who.name, "recipe.approve" if approve else "recipe.refuse",
        f"draft {draft.id} of {draft.recipe}", told,
    )  # fmt: skip


def _swap(session: Session, draft: RecipeDraft, revision: int, **values: object) -> None:
    swapped = session.execute(
        update(RecipeDraft)
        .where(RecipeDraft.id == draft.id, RecipeDraft.revision == revision)
        .values(revision=revision + 1, **values)
        .execution_options(synchronize_session=False)
    )
    if swapped.rowcount != 1:  # type: ignore[attr-defined]
        raise RefusedDraft("draft_moved_on")
    session.expire(draft)
