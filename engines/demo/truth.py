"""What is true of one part of the demo product, and how parts are drawn at random.

Knows the classes, the lot code and its check digit, and the severity floors' meaning (0 is the floor, 1 is
gross). Does not know how anything looks: `cap.py`, `blister.py` and `label.py` draw it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CAP_CLASSES: tuple[str, ...] = ("ok", "missing", "tilted", "cracked", "stained", "misprinted")
MISPRINTS: tuple[str, ...] = ("absent", "mirrored", "wrong", "shifted")
FULL_BLISTER = 6
CODE_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
CODE_LENGTH = 6
_EVEN = (0.2, 0.2, 0.2, 0.2, 0.2)
_HARD_OFTEN = (0.06, 0.18, 0.30, 0.26, 0.20)  # of missing, tilted, cracked, stained, misprinted


@dataclass(frozen=True)
class PartTruth:
    """One part: its cap, its tablets, its printed code, and how bad the cap's defect is."""

    cap: str
    tablets: int
    code: str
    code_valid: bool
    severity: float = 0.0
    misprint: str = ""

    @property
    def good(self) -> bool:
        """Whether a perfect inspection passes this part."""
        return self.cap == "ok" and self.tablets == FULL_BLISTER and self.code_valid


def check_digit(digits: str) -> str:
    """The GS1 modulo-10 check digit: weights 3, 1, 3, 1 … counted from the right."""
    total = sum(int(d) * (3 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits)))
    return str(-total % 10)


def code_is_valid(code: str) -> bool:
    """Whether `code` is one letter, four digits and their check digit."""
    shaped = (
        len(code) == CODE_LENGTH and code[0] in CODE_LETTERS and code[1:].isascii() and code[1:].isdigit()
    )
    return shaped and check_digit(code[1:5]) == code[5]


def random_code(rng: np.random.Generator, *, valid: bool) -> str:
    """A lot code whose check digit is right, or wrong on purpose."""
    digits = "".join(str(d) for d in rng.integers(0, 10, 4))
    right = int(check_digit(digits))
    last = right if valid else (right + int(rng.integers(1, 10))) % 10
    return f"{CODE_LETTERS[int(rng.integers(len(CODE_LETTERS)))]}{digits}{last}"


def _cap_fault(rng: np.random.Generator, shares: tuple[float, ...] = _EVEN) -> tuple[str, float, str]:
    kind = CAP_CLASSES[1 + int(rng.choice(len(shares), p=shares))]
    severity = float(rng.uniform())
    misprint = MISPRINTS[int(rng.integers(len(MISPRINTS)))] if kind == "misprinted" else ""
    if kind == "missing" or misprint in ("absent", "mirrored", "wrong"):
        severity = 1.0
    return kind, severity, misprint


def random_truth(rng: np.random.Generator, good_share: float = 0.9) -> PartTruth:
    """A part as a line makes it: good with `good_share`, otherwise with one fault (rarely two)."""
    cap, severity, misprint, tablets, valid = "ok", 0.0, "", FULL_BLISTER, True
    if rng.uniform() >= good_share:
        faults = rng.permutation(3)[: 2 if rng.uniform() < 0.1 else 1]
        if 0 in faults:
            cap, severity, misprint = _cap_fault(rng)
        if 1 in faults:
            tablets = int(rng.integers(0, FULL_BLISTER))
        valid = 2 not in faults
    return PartTruth(cap, tablets, random_code(rng, valid=valid), valid, severity, misprint)


def balanced_truth(rng: np.random.Generator) -> PartTruth:
    """A part for training and measuring: every class and count often, faint defects favoured."""
    cap, severity, misprint = ("ok", 0.0, "") if rng.uniform() < 0.27 else _cap_fault(rng, _HARD_OFTEN)
    if 0.0 < severity < 1.0:
        severity = severity**1.5
    code = random_code(rng, valid=bool(rng.uniform() < 0.5))
    return PartTruth(
        cap, int(rng.integers(0, FULL_BLISTER + 1)), code, code_is_valid(code), severity, misprint
    )
