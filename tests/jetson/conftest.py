"""The installer beside these tests, and the trees that the doctor's tests use too."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "jetson"))
sys.path.insert(0, str(ROOT / "tests" / "daemon" / "doctor"))
