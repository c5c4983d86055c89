"""`lineside engine`: look at an engine bundle, verify it, ask it, and build one from a checkpoint.

The rim: arguments in, text or JSON out; one file a command. Knows the engine package; does not know the
daemon. Exit codes: 0 done, 1 no answer came out, 2 wrong usage, 3 the bundle, checkpoint or question is
refused.
"""

from __future__ import annotations

import click

from lineside.engines.commands.bench import bench
from lineside.engines.commands.build import build
from lineside.engines.commands.compare import compare
from lineside.engines.commands.compile import compile_
from lineside.engines.commands.keys import keys
from lineside.engines.commands.roofline import roofline
from lineside.engines.commands.run import run
from lineside.engines.commands.show import show
from lineside.engines.commands.verify import verify


@click.group()
def engine() -> None:
    """Engine bundles: show, verify, run, measure, compare, build, compile, and keys to sign with."""


for command in (show, verify, run, bench, roofline, compare, build, compile_, keys):
    engine.add_command(command)
