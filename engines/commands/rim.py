"""What the commands share: how errors become a line and an exit code, and the arguments all of them take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lineside.engines.errors import EngineError, UndecodableAnswer

BUNDLE = click.argument("bundle", type=click.Path(exists=True, path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")


class Refused(click.ClickException):
    """The bundle, checkpoint or question was refused; the message says what to do."""

    exit_code = 3


class NoAnswer(click.ClickException):
    """The engine ran and gave no valid answer."""

    exit_code = 1


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns the engine's own errors into a line on stderr and an exit code."""
    try:
        yield
    except EngineError as error:
        failed = NoAnswer if isinstance(error, UndecodableAnswer) else Refused
        raise failed(str(error)) from error
