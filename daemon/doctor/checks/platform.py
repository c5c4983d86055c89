"""Is this a machine that the software runs on?"""

from __future__ import annotations

import platform
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import version

from lineside.daemon.doctor.base import Finding, Level, Subject

PYTHON = (3, 11)
GLIBC = (2, 28)
"""What the wheels of numpy, onnxruntime and grpcio are built for (manylinux_2_28)."""
MACHINES = ("x86_64", "aarch64")


class PlatformCheck:
    """Python, C library, processor."""

    name = "platform"
    needs_settings = False

    def run(self, subject: Subject) -> Iterator[Finding]:
        """One finding."""
        libc, libc_version = platform.libc_ver()
        machine = platform.machine()
        message = (
            f"lineside {version('lineside')}, Python {platform.python_version()}, "
            f"{libc or 'unknown C library'} {libc_version}, {machine}, SQLite {sqlite3.sqlite_version}"
        )
        if sys.version_info < PYTHON:
            yield Finding(self.name, Level.FAILED, message, "install Python 3.11 or newer")
        elif libc != "glibc" or _numbers(libc_version) < GLIBC:
            yield Finding(self.name, Level.WARNING, message, "use a system with glibc 2.28 or newer")
        elif machine not in MACHINES:
            yield Finding(self.name, Level.WARNING, message, f"use {' or '.join(MACHINES)}")
        else:
            yield Finding(self.name, Level.OK, message)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
