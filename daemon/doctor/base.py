"""What a check is: it looks at one thing and gives findings, each with what to do next. No check here."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lineside.daemon.clock import Clock
from lineside.daemon.settings import Settings, load_settings
from lineside.daemon.yamlfile import BadFile


class Level(StrEnum):
    """How bad it is. FAILED: parts are not judged, or results not kept or sent, until something is done."""

    OK = "OK"
    WARNING = "WARNING"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"  # there is nothing to look at here


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `next_step`: what a person should do; empty where nothing is to be done."""

    check: str
    level: Level
    message: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """The device that is looked at.

    `settings` None: they do not hold, `trouble` says why. `root`: where `proc`, `sys`, `run` and `dev` are.
    `daemon_runs`: cameras and ports may then be in its hands. `patience_s`: for what may not answer.
    """

    config: Path
    settings: Settings | None
    trouble: str
    clock: Clock
    daemon_runs: bool = False
    root: Path = Path("/")
    patience_s: float = 15.0

    @property
    def known(self) -> Settings:
        """The settings, for checks that are only run when they hold. Raises ValueError."""
        if self.settings is None:
            raise ValueError("the settings do not hold")
        return self.settings


class Check(Protocol):
    """One thing to look at. Constructors do no I/O."""

    name: str
    needs_settings: bool

    def run(self, subject: Subject) -> Iterator[Finding]:
        """Looks, and says what it found: at least one finding."""
        ...


def look_at(config: Path, clock: Clock, root: Path = Path("/")) -> Subject:
    """The device that a settings file describes."""
    try:
        settings = load_settings(config)
    except BadFile as error:
        return Subject(config, None, str(error), clock, root=root)
    return Subject(config, settings, "", clock, _locked(Path(settings.device.data_dir)), root)


def _locked(data_dir: Path) -> bool:
    """Whether a process has the store open."""
    try:
        descriptor = os.open(data_dir / "store.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
