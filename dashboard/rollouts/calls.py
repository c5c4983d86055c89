"""The calls of a rollout on a real device, over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lineside.dashboard.rollouts.steps import Installed
from lineside.v1 import engines_pb2
from lineside.v1.client import Client

SLOTS = {
    engines_pb2.ENGINE_SLOT_ACTIVE: "active",
    engines_pb2.ENGINE_SLOT_PREVIOUS: "previous",
    engines_pb2.ENGINE_SLOT_STAGED: "staged",
}


class DeviceEngines:
    """The engines of one device. `progress` is told of bytes sent and may raise to break off."""

    def __init__(self, client: Client, bundle: Path, progress: Callable[[int, int], None]) -> None:
        self._client, self._bundle, self._progress = client, bundle, progress

    def engines(self) -> list[Installed]:
        """What is installed."""
        listed = self._client.call(self._client.engines.ListEngines, engines_pb2.ListEnginesRequest())
        return [installed(engine) for engine in listed.engines]

    def install(self) -> Installed:
        """Sends the bundle and waits until the device has verified it."""
        return installed(self._client.install_engine(self._bundle, progress=self._progress))

    def activate(self, digest: str, request_id: str) -> None:
        """Has the device judge with an engine and waits until it does."""
        request = engines_pb2.ActivateEngineRequest(name=f"devices/-/engines/{digest}", request_id=request_id)
        self._client.engine_of(self._client.call(self._client.engines.ActivateEngine, request))


def installed(engine: engines_pb2.Engine) -> Installed:
    """An engine as a value."""
    return Installed(engine.digest, SLOTS.get(engine.slot, ""), engine.signature, engine.is_demo)
