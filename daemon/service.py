"""What the service manager hears while the appliance runs: a line for people, and whether it lives.

The watchdog is fed only after a look at the loops that do the work; a look that finds one stuck feeds
nothing, and the manager ends and restarts the process. Knows the appliance by two questions only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.liveness import Liveness, Pulse
from lineside.daemon.notify import ServiceNotifier

LOG = structlog.get_logger("service")


def tell_until(
    stop: threading.Event,
    notifier: ServiceNotifier,
    clock: Clock,
    *,
    pulses: Callable[[], Iterable[Pulse]],
    status: Callable[[], str],
    every_s: float,
) -> None:
    """Says `status` and feeds the watchdog every `every_s`, while the loops live, until `stop` is set."""
    liveness = Liveness()
    while not stop.wait(every_s):
        objections = liveness.objections(pulses(), clock.monotonic_ns())
        if not objections:
            notifier.status(status())
            notifier.alive()
            continue
        because = "; ".join(objections)
        LOG.critical("not alive, the watchdog is not fed", because=because)
        notifier.status(f"not alive: {because}")
