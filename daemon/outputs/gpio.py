"""A line of a GPIO chip, by libgpiod 2.

What level a line keeps when the process dies is the chip's own affair: only a heartbeat tells a PLC of a dead
daemon for sure.
"""

from __future__ import annotations

import contextlib
from typing import Any

from lineside.daemon.outputs.line import LineTrouble
from lineside.daemon.outputs.options import GpioOutput


class GpioLine:
    """One requested line, as an output."""

    def __init__(self, settings: GpioOutput) -> None:
        try:
            import gpiod
            from gpiod.line import Direction, Value
        except ImportError as error:
            raise LineTrouble(
                f"output '{settings.id}' is a GPIO line, which needs libgpiod: install lineside[gpio]"
            ) from error
        self._settings = settings
        self._on, self._off = Value.ACTIVE, Value.INACTIVE
        config = gpiod.LineSettings(
            direction=Direction.OUTPUT, active_low=settings.active_low, output_value=self._off
        )
        try:
            self._request: Any = gpiod.request_lines(
                settings.chip, consumer=f"lineside {settings.id}", config={settings.line: config}
            )
        except (OSError, ValueError) as error:
            raise LineTrouble(
                f"line {settings.line} of {settings.chip} cannot be used for output '{settings.id}': {error} "
                "(`gpioinfo` lists lines and who holds them; the service's user needs group gpio)"
            ) from error

    def set(self, on: bool) -> None:
        """Switches the line."""
        try:
            self._request.set_value(self._settings.line, self._on if on else self._off)
        except (OSError, ValueError) as error:
            raise LineTrouble(f"line {self._settings.line} of {self._settings.chip}: {error}") from error

    def close(self) -> None:
        """Switches off and gives the line back."""
        with contextlib.suppress(LineTrouble):
            self.set(False)
        with contextlib.suppress(OSError):
            self._request.release()
