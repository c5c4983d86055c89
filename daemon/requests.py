"""Calls with a `request_id`: each has its effect once, however often it comes, also after a crash.

The id is noted in the transaction that opens the part's intake (`store.accept`). Knows no call's content.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Protocol

from lineside.daemon.store.canonical import canonical_json
from lineside.daemon.store.requests import RequestKey, RequestReused
from lineside.daemon.values import Intake

REMEMBERED = 1000
"""Outcomes kept in memory: the store has all of them, but only once they are on the disk."""


class Accepts(Protocol):
    """`Store.accept`."""

    def __call__(self, intake: Intake, request: RequestKey | None = None) -> Future[None]: ...


class Requests:
    """Remembers which result a `request_id` led to. Thread-safe."""

    def __init__(
        self, accept: Accepts, outcome: Callable[[RequestKey], str | None], capacity: int = REMEMBERED
    ) -> None:
        self._accept = accept
        self._outcome = outcome
        self._capacity = capacity
        self._lock = threading.Lock()
        self._recent: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
        self._acting = threading.local()

    def once(self, station: str, request_id: str | None, digest: str, act: Callable[[], str]) -> str:
        """The result id of this request: the one it led to before, or what `act` gives now.

        `act` triggers in this very thread: the part it has accepted is noted with the request.

        Raises:
            RequestReused: the id was used for something else.
        """
        if not request_id:
            return act()
        key = RequestKey(station, request_id, digest)
        # Held while acting: two calls with one id at the same moment must not both inspect.
        with self._lock:
            known = self._known(key)
            if known is not None:
                return known
            self._acting.key = key
            try:
                result_id = act()
            finally:
                self._acting.key = None
            self._recent[(station, request_id)] = (digest, result_id)
            while len(self._recent) > self._capacity:
                self._recent.popitem(last=False)
            return result_id

    def accept(self, intake: Intake) -> Future[None]:
        """What a station accepts a part with: the store's, with the request that this thread acts for."""
        return self._accept(intake, getattr(self._acting, "key", None))

    def _known(self, key: RequestKey) -> str | None:
        recent = self._recent.get((key.scope, key.request_id))
        if recent is None:
            return self._outcome(key)
        if recent[0] != key.digest:
            raise RequestReused(
                f"request_id '{key.request_id}' was used for another call already: choose a new one for each"
            )
        return recent[1]


def digest_of(part_id: str | None, expected: Mapping[str, str], picture: bytes = b"") -> str:
    """What a call asks for, as sha256: the same for the same call, hex."""
    said = canonical_json({"part_id": part_id, "expected": dict(expected)})
    return hashlib.sha256(said.encode() + b"\0" + hashlib.sha256(picture).digest()).hexdigest()
