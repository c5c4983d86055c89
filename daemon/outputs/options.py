"""What the settings file says about outputs: which line, for which station, on what, when and how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lineside.daemon.values import Verdict
from lineside.daemon.yamlfile import Strict

OutputName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class _Output(Strict):
    id: OutputName = Field(description="name of the output, unique on the device")
    station: OutputName = Field(description="whose verdicts it acts on")
    role: Literal["reject", "ready", "heartbeat"] = Field(
        default="reject",
        description="reject: a pulse for each part that must not pass; ready: on while the station can "
        "judge; heartbeat: changes every `pulse_ms` while it can",
    )
    acts_on: tuple[Verdict, ...] = Field(
        default=(Verdict.NOT_OK, Verdict.NOT_DECIDABLE),
        min_length=1,
        description="verdicts that a reject output acts on; one without NOT_DECIDABLE lets unsure parts pass",
    )
    delay_ms: float = Field(
        default=0.0,
        ge=0,
        le=600_000,
        description="from the moment the part was seen to the moment it is in front of the ejector",
    )
    pulse_ms: float = Field(
        default=100.0, gt=0, le=60_000, description="how long the line stays on (and off, of a heartbeat)"
    )
    late_ms: float = Field(
        default=50.0,
        ge=0,
        le=600_000,
        description="a pulse that starts later than this after its moment counts as late, and alarms",
    )


class GpioOutput(_Output):
    """A line of a GPIO chip, through libgpiod (`pip install lineside[gpio]`)."""

    kind: Literal["gpio"]
    chip: str = Field(default="/dev/gpiochip0", pattern=r"^/dev/", description="the chip's device node")
    line: int = Field(ge=0, le=4095, description="the line's offset on the chip")
    active_low: bool = Field(default=False, description="true: on is a low level")


class CommandOutput(_Output):
    """A program that is started for each change, with `on` or `off` as its last argument."""

    kind: Literal["command"]
    command: tuple[str, ...] = Field(min_length=1, description="program and arguments; no shell")
    timeout_s: float = Field(
        default=2.0, gt=0, le=60, description="longer than this to end is a failed output"
    )


class FileOutput(_Output):
    """A file that holds `1` while the line is on and `0` while it is off: for tests and dry runs."""

    kind: Literal["file"]
    path: str = Field(pattern=r"^/", description="the file, by its whole path; its folder must exist")


OutputSettings = Annotated[GpioOutput | CommandOutput | FileOutput, Field(discriminator="kind")]
