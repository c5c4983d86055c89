"""`python -m lineside.dashboard.simulator`: starts simulated devices and prints how to follow them."""

from __future__ import annotations

import asyncio
import signal

import click

from lineside.dashboard.config import Address
from lineside.dashboard.simulator.fleet import plans, run


@click.command("simulate")
@click.option("--devices", type=click.IntRange(1, 2000), default=12, show_default=True)
@click.option(
    "--first-port",
    type=click.IntRange(0, 63000),
    default=52000,
    show_default=True,
    help="Ports count up from here; 0 takes free ones, to be found by --mqtt.",
)
@click.option(
    "--past", type=click.IntRange(0, 5000), default=120, show_default=True, help="Parts judged before."
)
@click.option(
    "--every", "every_s", type=float, default=2.0, show_default=True, help="Seconds from part to part."
)
@click.option("--no-trouble", is_flag=True, help="Every device is well.")
@click.option("--mqtt", "broker", metavar="HOST:PORT", help="A broker to announce the devices on.")
def main(
    devices: int, first_port: int, past: int, every_s: float, no_trouble: bool, broker: str | None
) -> None:
    """Play a fleet of devices that judge nothing, until stopped (Ctrl-C)."""
    wanted = plans(devices, every_s=every_s, trouble=not no_trouble)
    where = f"127.0.0.1:{first_port} to {first_port + devices - 1}" if first_port else "free ports"
    click.echo(f"{devices} simulated devices on {where}  (Ctrl-C ends them)")
    address = Address.parse(broker) if broker else None

    async def play() -> None:
        stopping = asyncio.Event()
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, stopping.set)
        await run(wanted, first_port, past, address, stopping)

    asyncio.run(play())


if __name__ == "__main__":
    main()
