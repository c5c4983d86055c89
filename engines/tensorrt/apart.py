"""The compiler's process from outside: started, listened to, and its end told in words.

Knows the lines that `compiler_process.py` prints; does not know what is compiled.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineside.engines.tensorrt.compiler_process import Job
from lineside.engines.tensorrt.network import CannotCompile

Step = Callable[[int, int], None]
"""Told how much of how much is done."""


def compile_apart(job: Job, name: str, place: Path, step: Step) -> dict[str, Any]:
    """What is known about a plan that another process made.

    `place`: a folder for the time of it; `step`: told how far it is.

    Raises:
        CannotCompile: the compiler refused the graph, or ended; in its own words where it had any.
    """
    told = place / "job.json"
    told.write_text(job.text(), "utf-8")
    command = [sys.executable, "-m", "lineside.engines.tensorrt.compiler_process", str(told)]
    with tempfile.TemporaryFile() as words:
        said: dict[str, Any] = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    said = _heard(line, step) or said
            except BaseException:
                process.kill()  # whoever interrupts us does not want a compiler left behind
                raise
        if "done" in said:
            return dict(said["done"])
        if "error" in said:
            raise CannotCompile(f"{name}: {said['error']}")
        words.seek(0)
        last = words.read().decode(errors="replace").strip().splitlines()[-1:]
        raise CannotCompile(f"{name}: {_ended(process.returncode)}{': ' + last[0] if last else ''}")


def _heard(line: str, step: Step) -> dict[str, Any] | None:
    """What a line of the compiler's process says; it may print words of its own as well."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    if "step" in said:
        step(int(said["step"]), int(said["of"]))
        return None
    return said


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the compiler was killed, most likely because memory ran out: stop other programs, or add swap"
    if code < 0:
        name = signal.Signals(-code).name
        return f"TensorRT ended its process with {name}; nothing was lost, and nothing made"
    return f"the compiler ended with {code}"
