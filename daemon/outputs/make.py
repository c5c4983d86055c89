"""From settings to an open line."""

from __future__ import annotations

from lineside.daemon.outputs.command import CommandLine
from lineside.daemon.outputs.file import FileLine
from lineside.daemon.outputs.gpio import GpioLine
from lineside.daemon.outputs.line import Line
from lineside.daemon.outputs.options import CommandOutput, FileOutput, GpioOutput, OutputSettings


def open_line(settings: OutputSettings) -> Line:
    """Opens the line that the settings name, switched off.

    Raises:
        LineTrouble: it is not there, is taken, or may not be used.
    """
    match settings:
        case GpioOutput():
            return GpioLine(settings)
        case CommandOutput():
            return CommandLine(settings)
        case FileOutput():
            return FileLine(settings)
