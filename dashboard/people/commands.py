"""`lineside dashboard user …`: users from the command line, by whoever may write the database.

A password comes from a prompt or a file, never from an argument, which others could read.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from lineside.dashboard.clock import utc_now
from lineside.dashboard.config import DashboardConfig
from lineside.dashboard.database.connection import Database
from lineside.dashboard.database.people_tables import User
from lineside.dashboard.people import accounts, audit, sessions
from lineside.dashboard.people.accounts import RefusedAccount
from lineside.dashboard.people.passwords import WeakPassword
from lineside.dashboard.people.rights import Place, Role

Opened = tuple[DashboardConfig, Database]
ROLES = click.Choice([role.word for role in Role])
PASSWORD_FILE = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its first line is the password; asked for where none is given.",
)
DEMO_USER = "demo"


@click.group()
def user() -> None:
    """Who may come in, and what they may do."""


@contextmanager
def _change(opened: Opened) -> Iterator[Session]:
    """A transaction; what is refused ends the command with the reason."""
    try:
        with opened[1].writing() as session:
            yield session
    except (RefusedAccount, WeakPassword) as error:
        raise click.ClickException(str(error)) from None


def _who() -> str:
    return f"command line ({getpass.getuser()})"


def _password(file: Path | None) -> str:
    if file is not None:
        return (file.read_text().splitlines() or [""])[0]
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


@user.command()
@click.argument("name")
@click.option("--role", type=ROLES, help="On every line; without one, only where `user line` says.")
@click.option("--no-password", is_flag=True, help="Comes in by `user link` only.")
@PASSWORD_FILE
@click.pass_obj
def add(opened: Opened, name: str, role: str | None, no_password: bool, password_file: Path | None) -> None:
    """Add a user."""
    password = None if no_password else _password(password_file)
    with _change(opened) as session:
        accounts.add(session, name, Role.read(role) if role else None, password, by=_who(), at=utc_now())
    click.echo(f"{name} can sign in" if password else f"{name} can come in by link")


@user.command()
@click.argument("name")
@PASSWORD_FILE
@click.pass_obj
def password(opened: Opened, name: str, password_file: Path | None) -> None:
    """Give a user another password; signs out all their browsers."""
    new = _password(password_file)
    with _change(opened) as session:
        accounts.set_password(session, accounts.get(session, name), new, by=_who(), at=utc_now())
    click.echo(f"{name} has another password")


@user.command()
@click.argument("name")
@click.argument("role", type=click.Choice([*(role.word for role in Role), "none"]))
@click.pass_obj
def role(opened: Opened, name: str, role: str) -> None:
    """What a user is on every line without a right of their own."""
    new = None if role == "none" else Role.read(role)
    with _change(opened) as session:
        accounts.set_role(session, accounts.get(session, name), new, by=_who(), at=utc_now())
    click.echo(f"{name}: {role}")


@user.command()
@click.argument("name")
@click.argument("place", metavar="SITE/AREA/LINE")
@click.argument("role", type=click.Choice([*(role.word for role in Role), "as-elsewhere"]))
@click.pass_obj
def line(opened: Opened, name: str, place: str, role: str) -> None:
    """What a user is on one line."""
    site, area, line_name = _place(place)
    new = None if role == "as-elsewhere" else Role.read(role)
    with _change(opened) as session:
        found = accounts.get(session, name)
        accounts.set_line_right(session, found, (site, area, line_name), new, by=_who(), at=utc_now())
    click.echo(f"{name} on {place}: {role}")


@user.command()
@click.argument("name")
@click.pass_obj
def disable(opened: Opened, name: str) -> None:
    """Shut a user out, at once and everywhere."""
    with _change(opened) as session:
        accounts.set_disabled(session, accounts.get(session, name), True, by=_who(), at=utc_now())
    click.echo(f"{name} is shut out")


@user.command()
@click.argument("name")
@click.pass_obj
def enable(opened: Opened, name: str) -> None:
    """Let a user in again."""
    with _change(opened) as session:
        accounts.set_disabled(session, accounts.get(session, name), False, by=_who(), at=utc_now())
    click.echo(f"{name} may come in again")


@user.command()
@click.argument("name")
@click.pass_obj
def link(opened: Opened, name: str) -> None:
    """Print a link that signs a user in once, within twelve hours."""
    at = utc_now()
    with _change(opened) as session:
        token = sessions.make_link(session, accounts.get(session, name), at)
        audit.note(session, at, _who(), "user.link", name)
    click.echo(f"/enter/{token}   (after the dashboard's address)")


@user.command("list")
@click.pass_obj
def list_(opened: Opened) -> None:
    """All users."""
    with opened[1].reading() as session:
        for found in session.scalars(select(User).order_by(User.name)):
            words = [found.role or "no role", "disabled" if found.disabled else "", *_lines(session, found)]
            click.echo("\t".join([found.name, *(word for word in words if word)]))


def write_link(database: Database, url: str, file: Path) -> None:
    """Makes the demonstration's user where there is none, and writes a link that others cannot read."""
    at = utc_now()
    with database.writing() as session:
        found = accounts.find(session, DEMO_USER)
        if found is None:
            found = accounts.add(session, DEMO_USER, Role.ADMIN, None, by="demonstration", at=at)
        token = sessions.make_link(session, found, at)
    beside = file.with_name(f"{file.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as written:
        written.write(f"{url}enter/{token}\n")
    beside.replace(file)


def _lines(session: Session, found: User) -> list[str]:
    person = accounts.person(session, found)
    return [f"{'/'.join(place)}: {role.word}" for place, role in sorted(person.lines.items())]


def _place(words: str) -> Place:
    parts = words.split("/")
    if len(parts) != 3:
        raise click.BadParameter("a line is named SITE/AREA/LINE", param_hint="SITE/AREA/LINE")
    return parts[0], parts[1], parts[2]
