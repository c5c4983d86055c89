"""A plant of simulated devices: who stands where, and which of them have trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lineside.dashboard.config import Address
from lineside.dashboard.simulator.device import Plan, SimulatedDevice

STATIONS = ("filler", "capper", "labeller", "packer")
AREAS = ("filling", "packing")
DEVICES_A_LINE = 4


def plans(devices: int, *, every_s: float = 2.0, trouble: bool = True) -> list[Plan]:
    """So many devices on lines of four. With `trouble` a few have some of each kind; the same every time."""
    made = []
    for n in range(devices):
        line = n // DEVICES_A_LINE
        kind = n % 23 if trouble else -1
        made.append(
            Plan(
                device=f"sim-{n + 1:04d}",
                site=f"plant-{'nsew'[line // 8 % 4]}",
                area=AREAS[line // 4 % 2],
                line=f"line-{line + 1}",
                station=STATIONS[n % DEVICES_A_LINE],
                seed=n + 1,
                every_s=every_s,
                bad_share=0.35 if kind == 5 else 0.006,
                unsure_share=0.05 if kind == 9 else 0.01,
                engine_version="2" if kind == 11 else "3",
                recipe_version=6 if kind == 13 else 7,
                ready=kind != 7,
                outbox_s=840.0 if kind == 3 else 0.0,
            )
        )
    return made


async def run(
    wanted: Sequence[Plan], first_port: int, past: int, broker: Address | None, stopping: asyncio.Event
) -> None:
    """Starts devices on ports that count up (0: free ones), announces them, and runs till told."""
    # What it does not implement its base answers with UNIMPLEMENTED: the stubs take that for abstract.
    devices = [SimulatedDevice(plan) for plan in wanted]  # type: ignore[abstract]
    async with AsyncExitStack() as stack:
        for n, device in enumerate(devices):
            if past:
                device.past(past, datetime.now(UTC))
            await device.start(first_port + n if first_port else 0)
            stack.push_async_callback(device.stop)
        if broker is not None:
            await asyncio.to_thread(announce, broker, devices)
        lines = [asyncio.create_task(device.run()) for device in devices if device.plan.ready]
        await stopping.wait()
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


def announce(broker: Address, devices: Sequence[SimulatedDevice]) -> None:
    """Births on the broker, retained, as devices publish them."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for device in devices:
        plan = device.plan
        told = {
            "schema": "lineside.status/1",
            "device": plan.device,
            "state": "online",
            "rpc_address": f"127.0.0.1:{device.port}",
        }
        topic = f"lineside/v1/{plan.site}/{plan.area}/{plan.line}/{plan.device}/status"
        client.publish(topic, json.dumps(told), qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
