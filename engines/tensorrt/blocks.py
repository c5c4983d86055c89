"""Device memory in blocks that are given back to a shelf and taken from it again.

All work goes through one stream in order, so a block may be used anew at once: what is queued for its new
owner comes after what was queued for the old one. Knows the device; does not know what lies in a block.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict, deque

from lineside.engines.tensorrt.device import ALIGNMENT, Address, Device

SHELF_BYTES = 64 << 20
"""What may lie unused: beyond it the device gets its memory back."""


class Block:
    """Memory of its own; given back when nobody refers to it any more."""

    __slots__ = ("__weakref__", "address", "size")

    def __init__(self, address: Address, size: int) -> None:
        self.address = address
        self.size = size


class Blocks:
    """All device memory of one engine."""

    def __init__(self, device: Device, shelf_bytes: int = SHELF_BYTES) -> None:
        self.device = device
        self._most = shelf_bytes
        self._shelf: dict[int, list[Address]] = defaultdict(list)
        self._on_shelf = 0
        # Blocks end whenever the collector likes, perhaps while work is captured: they wait here until then.
        self._ended: deque[tuple[Address, int]] = deque()
        self._owned: dict[Address, int] = {}
        # Pictures may be looked at while another thread decodes: held from queueing work until it is done.
        self.lock = threading.RLock()

    @property
    def size_bytes(self) -> int:
        """All memory taken from the device, used or on the shelf."""
        return sum(self._owned.values())

    def take(self, size: int) -> Block:
        """A block of at least `size` bytes with no particular content.

        Raises:
            NotEnoughMemory: the device has not so much.
        """
        self.tidy()
        size = max(-(-size // ALIGNMENT), 1) * ALIGNMENT
        if self._shelf[size]:
            address = self._shelf[size].pop()
            self._on_shelf -= size
        else:
            address = self.device.allocate(size)
            self._owned[address] = size
        block = Block(address, size)
        weakref.finalize(block, self._ended.append, (address, size)).atexit = False
        return block

    def tidy(self) -> None:
        """Puts blocks that ended on the shelf, and gives the device what is too much there."""
        while self._ended:
            address, size = self._ended.popleft()
            self._shelf[size].append(address)
            self._on_shelf += size
        if self._on_shelf <= self._most:
            return
        self.device.synchronise()
        for size in sorted(self._shelf, reverse=True):
            while self._shelf[size] and self._on_shelf > self._most:
                self._give_back(self._shelf[size].pop())
                self._on_shelf -= size

    def close(self) -> None:
        """Gives everything back, also what is still referred to: nothing may be run any more."""
        self.device.synchronise()
        for address in list(self._owned):
            self._give_back(address)
        self._shelf.clear()
        self._ended.clear()
        self._on_shelf = 0

    def _give_back(self, address: Address) -> None:
        del self._owned[address]
        self.device.free(address)
