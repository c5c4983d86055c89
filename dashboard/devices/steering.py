"""Changing a device: recipes, engines, pictures to try, over the client that MES programs use as well.

Opened for what is to be done, and closed after it. Short for pages; patient for rollouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lineside.dashboard.config import Address, DeviceTls
from lineside.v1.client import Client, Tls

PAGE_TIMEOUT_S = 15.0
PATIENT_TIMEOUT_S = 60.0


@contextmanager
def steering(address: Address, tls: DeviceTls | None, *, patient: bool = False) -> Iterator[Client]:
    """A client of one device; `patient` tries again where a page's reader would not wait.

    Raises:
        OSError: a certificate cannot be read.
        Failed: from each call that fails (`lineside.v1.client`).
    """
    made = Client(
        str(address),
        Tls(tls.key, tls.certificate, tls.authority) if tls is not None else None,
        timeout_s=PATIENT_TIMEOUT_S if patient else PAGE_TIMEOUT_S,
        attempts=3 if patient else 1,
    )
    with made as client:
        yield client
