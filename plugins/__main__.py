"""`python -m lineside.plugins`: what our CUDA kernels are on this machine, with a GPU or without."""

from __future__ import annotations

import click

from lineside.plugins.check.command import check
from lineside.plugins.ptx.command import ptx, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Lineside's CUDA kernels: check them on a GPU, see what they cost on each chip, read their PTX."""


for command in (check, table, ptx):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m lineside.plugins")
