"""The command line `lineside`: one group whose commands every package brings through entry points.

Exit codes: 0 done, 1 the thing asked for failed, 2 wrong usage, 3 not ready or refused.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version

import click

COMMAND_GROUP = "lineside.commands"


class InstalledCommands(click.Group):
    """Commands found in the entry point group, loaded only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all installed commands."""
        return sorted(entry.name for entry in entry_points(group=COMMAND_GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads one command; None when there is no such name."""
        for entry in entry_points(group=COMMAND_GROUP, name=cmd_name):
            command = entry.load()
            if isinstance(command, click.Command):
                return command
        return None


@click.group(cls=InstalledCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("lineside"), prog_name="lineside")
def root() -> None:
    """Lineside: judges parts on a line with a vision-language engine, on this box, with no network."""


def main() -> None:
    """Entry point of `lineside`."""
    root()


def daemon_main() -> None:
    """Entry point of `linesided`: the same as `lineside daemon`."""
    root(args=["daemon", *sys.argv[1:]], prog_name="linesided")
