"""A small random engine of the real architecture, for tests that must not depend on what an engine learnt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENGINES = Path(__file__).parents[1] / "engines"


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle. A process of its own makes it, because the engines' tests have modules of their own."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "checkpoint").mkdir()
    make = (
        "import sys; from pathlib import Path; import tiny_engine; folder = Path(sys.argv[1]);"
        "tiny_engine.build(tiny_engine.write_checkpoint(folder / 'checkpoint', 'dense'), folder / 'engine')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ENGINES}{os.pathsep}{ENGINES / 'reference'}"}
    subprocess.run([sys.executable, "-c", make, str(folder)], env=environment, check=True)
    return folder / "engine"
