"""Which form each matrix is stored in: read from its own numbers, by measured error.

Knows precisions, errors and their price; does not know graphs, files or what a matrix is for beyond its role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lineside.engines.graph.matrix import Matrix
from lineside.engines.quantise.blocks import BlockForm, Floats, rounded

Precision = Literal["fp32", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("int4", "int8", "fp16", "fp32")
Form = Literal["float32", "float16"] | BlockForm

# Cheapest first. Blocks of 128 take 15 % less room than blocks of 32 and decode a quarter to a half quicker
# (docs/engines.md), so the finer ones must earn it: the cheapest form that errs at most so much more than the
# best is taken.
_INT4 = tuple(BlockForm(4, block, zeros) for block in (128, 32) for zeros in (False, True))
_INT8 = tuple(BlockForm(8, block, False) for block in (128, 32))
_WORTH_IT = {4: 1.25, 8: 1.5}
_SAMPLED_SLICES, _SAMPLED_ROWS = 8, 32
_FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided for one matrix. `error`: ‖W − stored W‖ / ‖W‖, or of its products with samples."""

    name: str
    rows: int
    width: int
    form: str
    error: float


@dataclass(slots=True)
class WeightForms:
    """The forms of one graph's matrices, and a record of what was decided.

    `samples`: a matrix's name → rows [n, in] that real inputs sent through it; errors are then measured on
    its products with them. `head_bits`: of an output head in an int4 model.
    """

    precision: Precision = "fp32"
    head_bits: Literal[4, 8] = 4
    samples: Mapping[str, Floats] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)

    @property
    def rounds(self) -> bool:
        """Whether weights lose anything, so that what must stay exact is kept apart."""
        return self.precision != "fp32"

    def product(self, matrix: Matrix) -> Form:
        """The form of a linear layer's weight."""
        return self._choose(matrix.name, matrix, self._candidates(self.precision))

    def table(self, matrix: Matrix, *, multiplied: bool) -> Form:
        """The form of a table whose rows are looked up, and which is a head too where it is `multiplied`.

        A table that is only looked up costs no time however wide its numbers: it keeps 8 bits.
        """
        bits = self.head_bits if multiplied else 8
        precision: Precision = "int8" if self.precision == "int4" and bits == 8 else self.precision
        # A row must be whole blocks: the lookup knows no half-empty ones.
        candidates = [
            one
            for one in self._candidates(precision)
            if not isinstance(one, BlockForm) or not matrix.shape[1] % one.block
        ]
        return self._choose(matrix.name, matrix, candidates or ["float32"])

    def experts(self, name: str, parts: Sequence[Floats], widths: Sequence[int], count: int) -> Form:
        """The one form of all experts of a layer, measured on some of them: `parts`, rows [n, in] each.

        `widths`: of both products; `count`: rows of all experts together.
        """
        if not self.rounds:
            return "float32"
        candidates = [
            one
            for one in self._candidates(self.precision)
            if not isinstance(one, BlockForm) or not any(width % one.block for width in widths)
        ]
        if candidates and candidates[0] == "float16" and not all(_fit_float16(part) for part in parts):
            candidates = []
        form, error = _cheapest(candidates or ["float32"], parts, None)
        self._note(Choice(name, count, max(widths), _label(form), error))
        return form

    def _candidates(self, precision: Precision) -> Sequence[Form]:
        match precision:
            case "fp32":
                return ("float32",)
            case "fp16":
                return ("float16",)
            case "int8":
                return _INT8
            case "int4":
                return _INT4

    def _choose(self, name: str, matrix: Matrix, candidates: Sequence[Form]) -> Form:
        if candidates[0] == "float32":
            return "float32"
        if candidates[0] == "float16" and not all(_fit_float16(chunk) for chunk in matrix.chunks()):
            candidates = ("float32",)
        form, error = _cheapest(candidates, [sampled_rows(matrix)], self.samples.get(name))
        self._note(Choice(name, *matrix.shape, _label(form), error))
        return form

    def _note(self, choice: Choice) -> None:
        self.choices.append(choice)


def _cheapest(
    candidates: Sequence[Form], parts: Sequence[Floats], inputs: Floats | None
) -> tuple[Form, float]:
    errors = [error_of(form, parts, inputs) for form in candidates]
    first = candidates[0]
    margin = _WORTH_IT[first.bits] if isinstance(first, BlockForm) else 1.0
    chosen = next(i for i, error in enumerate(errors) if error <= margin * min(errors))
    return candidates[chosen], errors[chosen]


def _fit_float16(values: Floats) -> bool:
    return float(np.abs(values).max(initial=0)) <= _FLOAT16_MAX


def error_of(form: Form, parts: Sequence[Floats], inputs: Floats | None = None) -> float:
    """What a form loses of rows: ‖W − stored W‖/‖W‖; with `inputs` [n, in] the same of their products."""
    lost = whole = 0.0
    for part in parts:
        difference = part - stored_as(part, form)
        if inputs is not None:
            difference, part = inputs @ difference.T, inputs @ part.T
        lost += float(np.square(difference, dtype=np.float64).sum())
        whole += float(np.square(part, dtype=np.float64).sum())
    return (lost / whole) ** 0.5 if whole else 0.0


def stored_as(rows: Floats, form: Form) -> Floats:
    """Rows as they come back from storage in a form."""
    if form == "float32":
        return rows
    if form == "float16":
        return rows.astype(np.float16).astype(np.float32)
    return rounded(rows, form)


def sampled_rows(matrix: Matrix) -> Floats:
    """Rows from all over a matrix, or all of a small one."""
    rows = matrix.shape[0]
    if rows <= _SAMPLED_SLICES * _SAMPLED_ROWS:
        return matrix.whole()
    step = (rows - _SAMPLED_ROWS) // (_SAMPLED_SLICES - 1)
    return np.concatenate([matrix.rows(i * step, i * step + _SAMPLED_ROWS) for i in range(_SAMPLED_SLICES)])


def _label(form: Form) -> str:
    return form.label if isinstance(form, BlockForm) else form
