"""How the engine process is run, and how it is seen from outside. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lineside.daemon.engine_worker.messages import LookAhead
from lineside.daemon.engine_worker.process import MAX_IN_HAND
from lineside.daemon.engine_worker.restarts import RestartPolicy
from lineside.daemon.engine_worker.shift import Patience
from lineside.engines.signing import TrustPolicy

DEFAULT_FACTORY = "lineside.engines.open:Engine.open"


class WorkerState(StrEnum):
    """Where the engine stands. FAILED is still tried, at the longest delay, but nobody is kept waiting."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    READY = "READY"
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How the engine process is run. Sizes in bytes, times in seconds.

    `in_hand`: asks handed over ahead of their turn, each with a slot of `slot_bytes` for its pictures.
    `backlog`: asks that may wait; one more resolves at once as OVERLOADED.
    `factory`: `module:attribute`, called in the process as
    `factory(Path(bundle), runtime=runtime, threads=threads)`; `threads`: cores it may use, None for all.
    `trust`: whose engines are taken, handed to the factory as `trust`; None: nothing is.
    `look_ahead`: whether it looks at the next ask's pictures while it answers one; `auto`: where it pays.
    """

    bundle: Path
    runtime: str = "auto"
    threads: int | None = None
    look_ahead: LookAhead = "auto"
    trust: TrustPolicy | None = None
    factory: str = DEFAULT_FACTORY
    in_hand: int = 2
    slot_bytes: int = 64 * 2**20
    backlog: int = 256
    heartbeat_s: float = 1.0
    patience: Patience = field(default_factory=lambda: Patience(start_s=300.0, answer_s=30.0, idle_s=15.0))
    restarts: RestartPolicy = field(
        default_factory=lambda: RestartPolicy(first_s=0.1, max_s=30.0, start_attempts=3)
    )
    stop_s: float = 5.0

    def __post_init__(self) -> None:
        """Raises ValueError for numbers with which no engine process can be run."""
        if not 1 <= self.in_hand <= MAX_IN_HAND:
            raise ValueError(f"in_hand is {self.in_hand}; it must be 1 to {MAX_IN_HAND}")
        if self.heartbeat_s * 2 > self.patience.idle_s:
            raise ValueError("idle_s must leave room for at least two heartbeats")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The worker as seen now. `detail`: why it is not ready. Counts are of asks since `open`.

    `failed` counts asks that ended as an EngineProblem, `cancelled` those given up before they were sent.
    """

    state: WorkerState
    detail: str
    pid: int | None
    restarts: int
    answered: int
    failed: int
    cancelled: int
    waiting: int
    last_answer_age_s: float | None
    memory_bytes: int | None
