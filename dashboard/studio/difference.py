"""Two texts side by side, line by line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

AROUND = 3
"""Equal lines shown around a difference."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of both texts; `kind`: same, changed, added, removed, gap. A number 0: not in that text."""

    kind: str
    left_number: int = 0
    left: str = ""
    right_number: int = 0
    right: str = ""


def compare(left: str, right: str) -> list[Line]:
    """The differences with some lines around them; empty for equal texts."""
    before, after = left.splitlines(), right.splitlines()
    lines: list[Line] = []
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    for group in matcher.get_grouped_opcodes(AROUND):
        if lines:
            lines.append(Line("gap"))
        for tag, a0, a1, b0, b1 in group:
            for n in range(max(a1 - a0, b1 - b0)):
                has_left, has_right = a0 + n < a1, b0 + n < b1
                kind = "same" if tag == "equal" else "changed" if has_left and has_right else ""
                lines.append(
                    Line(
                        kind or ("removed" if has_left else "added"),
                        a0 + n + 1 if has_left else 0,
                        before[a0 + n] if has_left else "",
                        b0 + n + 1 if has_right else 0,
                        after[b0 + n] if has_right else "",
                    )
                )
    return lines
