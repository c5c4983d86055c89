"""An engine's self-test in a process of its own: one that crashes takes nothing along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lineside.engines.errors import EngineError

SELFTEST_S = 1800.0


def selftest_apart(bundle: Path) -> None:
    """Runs `lineside engine verify` in a process of its own: an engine that crashes takes nothing along.

    Raises:
        EngineError: it did not pass, with what the command said.
    """
    command = "from lineside.daemon.cli import main; main()"
    # Whose engine it is was looked at before, by this device's own policy.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LINESIDE_ENGINE_")}
    try:
        run = subprocess.run(
            [sys.executable, "-c", command, "engine", "verify", str(bundle)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SELFTEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"the self-test was not done after {SELFTEST_S:g} s") from None
    if run.returncode != 0:
        said = (run.stderr.strip() or run.stdout.strip())[-2000:]
        raise EngineError(f"the self-test did not pass: {said or f'it ended with {run.returncode}'}")
