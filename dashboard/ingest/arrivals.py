"""What followers hand to the writer: results, words that there are none, new lives of a device's store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lineside.v1 import results_pb2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One step of a device's watch. `device_id` is the row of `devices`; `received_at` this machine's time.

    `inspection` is None for a word that everything up to `sequence` was sent. `begins`: the store began anew,
    and `history` is its new life; the sequence then starts over.
    """

    device_id: int
    history: int
    sequence: int
    received_at: datetime
    inspection: results_pb2.Inspection | None = None
    begins: bool = False
