"""What passes between the daemon and the engine process: small, frozen and picklable, one type per meaning.

Pictures do not pass here: a request names where they lie in shared memory (`frames`).
Knows neither processes nor engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from lineside.daemon.values import ReasonCode
from lineside.engines.base import Answer, Clip, EngineInfo, Grammar, Image, Prompt
from lineside.engines.signing import TrustPolicy

LookAhead = Literal["auto", "on", "off"]
"""Whether the process looks at the next ask's pictures while it answers one; `auto`: where it pays."""


class ProblemKind(StrEnum):
    """Why there is no answer."""

    UNKNOWN_QUESTION = "UNKNOWN_QUESTION"  # the engine was not trained for it
    BAD_QUESTION = "BAD_QUESTION"  # nobody could answer it: a broken pattern, no allowed value
    PROMPT_TOO_LONG = "PROMPT_TOO_LONG"
    BAD_IMAGE = "BAD_IMAGE"
    UNDECODABLE = "UNDECODABLE"
    ENGINE_ERROR = "ENGINE_ERROR"  # the engine failed in a way nobody planned for
    ENGINE_CRASHED = "ENGINE_CRASHED"  # the engine's process died, or hung and was killed, twice on this ask
    NOT_LOADED = "NOT_LOADED"  # the engine cannot be started
    OVERLOADED = "OVERLOADED"  # the queue to the engine was full
    CLOSED = "CLOSED"  # the daemon is stopping


_REASONS = {
    ProblemKind.UNDECODABLE: ReasonCode.UNDECODABLE,
    ProblemKind.ENGINE_CRASHED: ReasonCode.ENGINE_CRASHED,
    ProblemKind.OVERLOADED: ReasonCode.OVERLOADED,
    ProblemKind.CLOSED: ReasonCode.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class EngineProblem:
    """No answer, and why; `message` is for people. Always ends as NOT_DECIDABLE, never as OK."""

    kind: ProblemKind
    message: str

    @property
    def reason(self) -> ReasonCode:
        """What the plant is told."""
        return _REASONS.get(self.kind, ReasonCode.ENGINE_ERROR)


@dataclass(frozen=True, slots=True)
class Ask:
    """One question on one or several pictures, before it leaves the daemon.

    `images` are RGB (height, width, 3) uint8, or clips of such; they may be views of a frame,
    and must not change until the answer is there.
    """

    images: tuple[Image | Clip, ...]
    prompt: Prompt
    grammar: Grammar
    max_tokens: int = 256


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A question that will come: checked and prepared by the engine, with no picture."""

    prompt: Prompt
    grammar: Grammar


@dataclass(frozen=True, slots=True)
class PictureRef:
    """Where a picture lies in the shared memory: bytes from its start; `fps` only for a clip."""

    offset: int
    shape: tuple[int, ...]
    fps: float | None = None


# From the daemon to the engine process.


@dataclass(frozen=True, slots=True)
class OpenEngine:
    """The first message: which engine to load. `factory`: see `settings.WorkerSettings`."""

    factory: str
    bundle: str
    runtime: str
    threads: int | None
    heartbeat_s: float
    slots: int
    slot_bytes: int
    look_ahead: LookAhead = "auto"
    trust: TrustPolicy | None = None


@dataclass(frozen=True, slots=True)
class AskEngine:
    """An ask whose pictures lie in `slot`."""

    id: int
    slot: int
    pictures: tuple[PictureRef, ...]
    prompt: Prompt
    grammar: Grammar
    max_tokens: int


@dataclass(frozen=True, slots=True)
class WarmEngine:
    """A warm-up."""

    id: int
    prompt: Prompt
    grammar: Grammar


ToChild = OpenEngine | AskEngine | WarmEngine


# From the engine process to the daemon.


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded. `ahead`: it looks at the next ask's pictures while it answers one."""

    info: EngineInfo
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine cannot be loaded. `final`: the bundle itself is at fault, so trying again is in vain."""

    message: str
    final: bool


@dataclass(frozen=True, slots=True)
class Alive:
    """The process lives; sent at a steady pace."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an ask or a warm-up (None: warmed)."""

    id: int
    outcome: Answer | EngineProblem | None


FromChild = Ready | Refused | Alive | Done
