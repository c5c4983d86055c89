"""What a camera is to the rest: opened, read in a loop by one thread, closed. No policy here."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lineside.daemon.values import Frame


class CameraLost(Exception):
    """The source cannot be opened or has gone away; opening it again may help. The message says why."""


class EndOfSource(Exception):
    """The source has shown everything it has: a finished file is no fault."""


class DamagedPicture(Exception):
    """One picture could not be read; the source goes on with the next."""


class Camera(Protocol):
    """One source of frames. Constructors do no I/O; all calls come from one thread."""

    @property
    def name(self) -> str:
        """The camera's id on this device."""
        ...

    @property
    def kind(self) -> str:
        """The word settings use."""
        ...

    @property
    def source(self) -> str:
        """Where frames come from, for people: passwords masked."""
        ...

    @property
    def lossless(self) -> bool:
        """Whether every frame counts (a file judged as fast as it goes): the reader waits for room."""
        ...

    @property
    def frozen_after_s(self) -> float | None:
        """Identical pictures for so long mean a frozen source; None where they may be meant."""
        ...

    def open(self) -> None:
        """Opens the source; `Frame.index` starts again at 0. Raises CameraLost."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None when none came within a fraction of a second.

        Raises:
            CameraLost, EndOfSource, DamagedPicture.
        """
        ...

    def close(self) -> None:
        """Frees the source; harmless when it is not open."""
        ...


@runtime_checkable
class Renewable(Protocol):
    """A camera whose calls go into libraries or drivers that may never come back."""

    def renewed(self) -> Camera:
        """Another object for the same source, not open, that shares nothing with this one."""
        ...
