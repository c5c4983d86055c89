"""A line behind a program of the plant's own: a relay on the network, a fieldbus gateway."""

from __future__ import annotations

import contextlib
import subprocess

from lineside.daemon.outputs.line import LineTrouble
from lineside.daemon.outputs.options import CommandOutput


class CommandLine:
    """Runs the program once a change, and waits for it: changes never overtake each other."""

    def __init__(self, settings: CommandOutput) -> None:
        self._settings = settings
        self.set(False)

    def set(self, on: bool) -> None:
        """Runs the program with `on` or `off`."""
        command = [*self._settings.command, "on" if on else "off"]
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self._settings.timeout_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise LineTrouble(f"there is no program {command[0]}") from error
        except subprocess.TimeoutExpired as error:
            raise LineTrouble(f"{command[0]} took longer than {self._settings.timeout_s:g} s") from error
        except OSError as error:
            raise LineTrouble(f"{command[0]} cannot be run: {error}") from error
        if ended.returncode != 0:
            said = ended.stderr.decode(errors="replace").strip().splitlines()
            because = f": {said[-1][:200]}" if said else ""
            raise LineTrouble(f"{command[0]} ended with {ended.returncode}{because}")

    def close(self) -> None:
        """Switches off."""
        with contextlib.suppress(LineTrouble):
            self.set(False)
