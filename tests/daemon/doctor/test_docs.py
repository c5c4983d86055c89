"""`docs/operating.md` lists the checks there are, in their order."""

from __future__ import annotations

import re
from pathlib import Path

from lineside.daemon.doctor.examine import CHECKS

DOCS = Path(__file__).parents[3] / "docs" / "operating.md"


def test_every_check_is_told_of() -> None:
    told = re.findall(r"^\| `(\w+)` \| ", DOCS.read_text(), flags=re.M)

    assert told == [check.name for check in CHECKS]
