"""What a person may do, where: four roles, each more than the one before, and lines with rights of their own.

Every route says the least role it needs (`needs`), or that it is for everybody (`public`); a route that says
neither is refused by the guard. Pure values: knows no database and no request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])
DECLARED = "lineside_needs"

Place = tuple[str, str, str]
"""Site, area, line."""


class Role(IntEnum):
    """What a person is; a greater one may do all that a smaller one may."""

    VIEWER = 1
    REVIEWER = 2
    ENGINEER = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """As stored and as written in links: lower case."""
        return self.name.lower()

    @classmethod
    def read(cls, word: str) -> Role:
        """From its word. Raises ValueError for none of them."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError(f"'{word}' is no role: {', '.join(role.word for role in cls)}") from None


@dataclass(frozen=True, slots=True)
class Person:
    """Who makes a request. `role` holds wherever `lines` names no other; None: nowhere else."""

    id: int
    name: str
    role: Role | None
    lines: Mapping[Place, Role] = field(default_factory=dict)
    language: str | None = None

    def role_at(self, place: Place) -> Role | None:
        """The role on a line; None where the person may not even look."""
        return self.lines.get(place, self.role)

    def may(self, role: Role, place: Place) -> bool:
        """Whether the person is at least `role` on a line."""
        here = self.role_at(place)
        return here is not None and here >= role

    @property
    def best(self) -> Role | None:
        """The greatest role on any line: what decides whether a page can be of use at all."""
        roles = [role for role in (self.role, *self.lines.values()) if role is not None]
        return max(roles, default=None)


def needs(role: Role, *, everywhere: bool = False) -> Callable[[View], View]:
    """Declares the least role of a route. What it changes or shows of a device is asked for again, by line.

    `everywhere`: the role must be the person's own, not one of some line: for what has no line.
    """

    def declare(view: View) -> View:
        setattr(view, DECLARED, (role, everywhere))
        return view

    return declare


def public(view: View) -> View:
    """Declares that a route is for everybody, signed in or not."""
    setattr(view, DECLARED, (None, False))
    return view


def declared(view: object) -> tuple[Role | None, bool] | None:
    """What a view declares; None for one that declares nothing."""
    found: tuple[Role | None, bool] | None = getattr(view, DECLARED, None)
    return found
