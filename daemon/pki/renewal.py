"""Renews the device's certificate before it ends. One thread; knows no server but the fleet's."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from lineside.daemon.clock import Clock
from lineside.daemon.pki.device import DeviceKeys, Enrolment, due
from lineside.daemon.pki.enrol import renew
from lineside.daemon.pki.files import PkiError

LOOK_EVERY_S = 3600.0
Renew = Callable[[str, DeviceKeys], Enrolment]
_log = structlog.get_logger(__name__)


class Renewal:
    """Looks once an hour, and renews once less than a third of the certificate's life is left.

    Thread `certificates`: `open` starts it, `close` ends it. A fleet's server that cannot be reached is tried
    again at the next look; that leaves a third of the life, thirty days of ninety, to mend it.
    """

    def __init__(
        self, keys: DeviceKeys, clock: Clock, *, every_s: float = LOOK_EVERY_S, ask: Renew = renew
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._every_s = every_s
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def open(self) -> None:
        """Starts looking."""
        self._thread.start()

    def close(self) -> None:
        """Ends; a renewal under way is given its time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Renews if it is time; True when a new certificate was put in place.

        Raises:
            PkiError, OSError: it should have been renewed and was not; the present one stays.
        """
        fleet, life = self._keys.fleet(), self._keys.lifetime()
        if fleet is None or not fleet.url or life is None or not due(life, self._clock.now()):
            return False
        ends = self._keys.install(self._ask(fleet.url, self._keys), fleet.url, self._clock.now())
        _log.info("certificate_renewed", until=ends.isoformat())
        return True

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except (PkiError, OSError) as error:
                _log.error("certificate_not_renewed", because=str(error))
            # A fault of ours must not end the renewing for good: the certificate would run out unseen.
            except Exception:  # noqa: BLE001 - see above
                _log.exception("certificate_renewal_failed")
            if self._stop.wait(self._every_s):
                return
