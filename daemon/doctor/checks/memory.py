"""Is there memory left?"""

from __future__ import annotations

from collections.abc import Iterator

from lineside.daemon.doctor.base import Finding, Level, Subject
from lineside.engines.memory import free_bytes, size_text

LOW_BYTES, TOO_LOW_BYTES = 1 << 30, 256 << 20


class MemoryCheck:
    """What the kernel would still give, without swapping."""

    name = "memory"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        free = free_bytes(subject.root)
        if free is None:
            yield Finding(self.name, Level.SKIPPED, "this machine does not say how much memory is free")
            return
        message = f"{size_text(free)} available"
        step = "end what else runs here, or use a smaller engine or precision"
        if free < TOO_LOW_BYTES:
            yield Finding(self.name, Level.FAILED, message, step)
        elif free < LOW_BYTES:
            yield Finding(self.name, Level.WARNING, message, step)
        else:
            yield Finding(self.name, Level.OK, message)
