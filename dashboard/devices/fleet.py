"""All followed devices: made, started and stopped in this one place.

A device is found by its own id, or by its address before it has said its id.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import grpc

from lineside.dashboard.config import Address, DashboardConfig
from lineside.dashboard.devices import translate
from lineside.dashboard.devices.channel import Channel
from lineside.dashboard.devices.evidence import EvidencePictures
from lineside.dashboard.devices.follow import Follower
from lineside.dashboard.devices.frames import Frames
from lineside.dashboard.devices.memory import DeviceMemory
from lineside.dashboard.devices.probe import Probe
from lineside.dashboard.devices.recipes import EMPTY_CARD, RecipeCard, RecipeCards
from lineside.dashboard.devices.values import Recipe, Result


def utc_now() -> datetime:
    """Wall time, aware."""
    return datetime.now(UTC)


class FollowedDevice:
    """One device: its channel, its memory, the two threads that fill it, and its pictures."""

    def __init__(
        self,
        address: Address,
        config: DashboardConfig,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self.address = address
        self.channel = Channel(address)
        self.memory = DeviceMemory(
            now=now, monotonic=monotonic, zone=config.timezone, silent_after_s=config.silent_after_s
        )
        self.frames = Frames(self.channel, monotonic)
        self.evidence = EvidencePictures(self.channel, monotonic)
        self._cards = RecipeCards()
        self._follower = Follower(self.channel, self.memory, self._cards)
        self._probe = Probe(
            self.channel, self.memory, config.probe_every_s, self._follower.watch_stands_still
        )

    def open(self, stack: ExitStack) -> None:
        """Starts following; `stack` stops it."""
        self.channel.open()
        stack.callback(self.channel.close)
        self._follower.start()
        stack.callback(self._follower.stop)
        self._probe.start()
        stack.callback(self._probe.stop)

    def card(self, recipe: Recipe) -> RecipeCard:
        """What the recipe says for the screen; an empty card where the device does not give its text."""
        if not recipe.name:
            return EMPTY_CARD
        try:
            return self._cards.learn(recipe, self.channel.recipe_text)
        except grpc.RpcError:
            return EMPTY_CARD

    def known_card(self, recipe: Recipe) -> RecipeCard:
        """As `card`, without ever asking the device."""
        return self._cards.known(recipe) or EMPTY_CARD

    def result(self, result_id: str) -> Result | None:
        """A result, remembered or asked for; None where the device has none of that id.

        Raises:
            grpc.RpcError: the device does not answer.
        """
        found = self.memory.find(result_id)
        if found is not None:
            return found
        try:
            return translate.result(self.channel.inspection(result_id))
        except grpc.RpcError as error:
            if isinstance(error, grpc.Call) and error.code() in (
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.INVALID_ARGUMENT,
            ):
                return None
            raise


class Fleet:
    """The devices of one dashboard, in the order they were named. `open` starts, `close` stops them."""

    def __init__(
        self,
        config: DashboardConfig,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.devices = tuple(FollowedDevice(address, config, now, monotonic) for address in config.devices)
        self._stack = ExitStack()

    def open(self) -> None:
        """Starts following every device."""
        for device in self.devices:
            device.open(self._stack)

    def close(self) -> None:
        """Stops in reverse order."""
        self._stack.close()

    def key(self, device: FollowedDevice) -> str:
        """What a device is called in links: its id; its address while that is unknown or not its alone."""
        known = _id_of(device)
        alike = sum(1 for other in self.devices if _id_of(other) == known)
        return known if known and alike == 1 else str(device.address)

    def find(self, key: str) -> FollowedDevice | None:
        """The device of that id or address."""
        for device in self.devices:
            if key in (self.key(device), str(device.address)):
                return device
        return None


def _id_of(device: FollowedDevice) -> str:
    known = device.memory.view().device
    return known.device if known else ""
