"""Simulated devices on real sockets, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path
from typing import Any

import zstandard

from lineside.dashboard.simulator.device import Plan, SimulatedDevice


class SimulatedFleet:
    """Devices that judge every few milliseconds; `stop_one` and `start_one` as if the power went and came."""

    def __init__(self, *plans: Plan) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-fleet")
        self._thread.start()
        self.devices: list[Any] = [self._wait(self._make(plan)) for plan in plans]
        self._lines: dict[int, Any] = {}
        for n in range(len(plans)):
            self.start_one(n)

    def start_one(self, n: int) -> None:
        device = self.devices[n]
        self._wait(device.start(device.port))
        self._lines[n] = asyncio.run_coroutine_threadsafe(device.run(), self._loop)

    def stop_one(self, n: int) -> None:
        self._lines.pop(n).cancel()
        self._wait(self.devices[n].stop())

    def close(self) -> None:
        for n in list(self._lines):
            self.stop_one(n)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _make(self, plan: Plan) -> Any:
        return SimulatedDevice(plan)  # type: ignore[abstract]

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def plan(n: int, **changes: Any) -> Plan:
    told = {"station": "capper", "seed": n, "every_s": 0.1, "bad_share": 0.0, "unsure_share": 0.0}
    return Plan(f"sim-{n}", "plant", "filling", "line-1", **{**told, **changes})


def write_bundle(path: Path, *, name: str = "caps", version: str = "2", damaged: bool = False) -> bytes:
    """A small `.lsengine` file, and its bytes."""
    weights = b"weights " * 4000
    manifest = {
        "format": 1,
        "name": name,
        "version": version,
        "licence": "Apache-2.0",
        "precision": "int4",
        "source": {"model": "Qwen/Qwen3.5-2B", "revision": "abc"},
        "is_demo": False,
        "context_tokens": 512,
        "card": {"accuracy": "0.991 on 1,200 held-out parts"},
        "files": {"onnx/decoder.onnx": hashlib.sha256(weights).hexdigest()},
    }
    content = {"manifest.json": json.dumps(manifest).encode(), "onnx/decoder.onnx": weights[damaged:]}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for member, data in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    packed = zstandard.ZstdCompressor().compress(plain.getvalue())
    path.write_bytes(packed)
    return packed
