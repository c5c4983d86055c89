"""The choice of a form: by the matrix's own numbers, by what real inputs make of it, and by its role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lineside.engines.graph.matrix import Matrix, stored
from lineside.engines.quantise.blocks import BlockForm
from lineside.engines.quantise.forms import WeightForms, error_of
from lineside.engines.weights import open_checkpoint

Floats = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture
def matrix_of(tmp_path: Path) -> Any:
    def make(values: Floats) -> Matrix:
        save_file({"w.weight": values}, tmp_path / "model.safetensors")
        return stored(open_checkpoint(tmp_path), "w.weight", values.shape)

    return make


def _even(rows: int = 96, width: int = 512) -> Floats:
    return np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)


def _with_outliers() -> Floats:
    values = _even()
    values[:, ::96] *= 30
    return values


def test_even_weights_take_the_cheap_form_and_outliers_pay_for_the_fine_one(matrix_of: Any) -> None:
    forms = WeightForms("int4")
    assert forms.product(matrix_of(_even())) == BlockForm(4, 128, False)
    chosen = forms.product(matrix_of(_with_outliers()))
    assert isinstance(chosen, BlockForm)
    assert chosen.block == 32


def test_one_sided_weights_pay_for_zero_points(matrix_of: Any) -> None:
    chosen = WeightForms("int4").product(matrix_of(np.abs(_even())))
    assert isinstance(chosen, BlockForm)
    assert chosen.zero_points


def test_the_record_says_what_was_measured(matrix_of: Any) -> None:
    forms = WeightForms("int4")
    matrix = matrix_of(_even())
    form = forms.product(matrix)
    (choice,) = forms.choices
    assert (choice.name, choice.rows, choice.width) == ("w", 96, 512)
    assert choice.form == "int4/128"
    assert choice.error == pytest.approx(error_of(form, [_even()]))
    assert 0.08 < choice.error < 0.11


def test_errors_are_measured_where_inputs_are_large(matrix_of: Any) -> None:
    """Outliers that no input reaches are no reason for a dearer form."""
    values = _with_outliers()
    quiet = np.random.default_rng(1).standard_normal((64, 512)).astype(np.float32)
    quiet[:, ::96] = 0
    matrix = matrix_of(values)
    blind = WeightForms("int4")
    blind.product(matrix)
    seeing = WeightForms("int4", samples={"w": quiet})
    seeing.product(matrix)
    # The same rounding is far worse for what inputs really use.
    assert seeing.choices[0].error > 1.5 * blind.choices[0].error


def test_each_precision_has_its_forms(matrix_of: Any) -> None:
    matrix = matrix_of(_even())
    assert WeightForms("fp32").product(matrix) == "float32"
    assert WeightForms("fp16").product(matrix) == "float16"
    assert WeightForms("int8").product(matrix) == BlockForm(8, 128, False)
    assert not WeightForms("fp32").rounds
    assert WeightForms("fp16").rounds


def test_weights_too_large_for_float16_stay_float32(matrix_of: Any) -> None:
    values = _even()
    values[3, 4] = 1e6
    assert WeightForms("fp16").product(matrix_of(values)) == "float32"


def test_heads_and_tables(matrix_of: Any) -> None:
    matrix = matrix_of(_even())
    head = WeightForms("int4").table(matrix, multiplied=True)
    assert isinstance(head, BlockForm)
    assert head.bits == 4
    wide = WeightForms("int4", head_bits=8).table(matrix, multiplied=True)
    assert isinstance(wide, BlockForm)
    assert wide.bits == 8
    looked_up = WeightForms("int4").table(matrix, multiplied=False)
    assert isinstance(looked_up, BlockForm)
    assert looked_up.bits == 8


def test_rows_that_are_no_whole_blocks_are_not_looked_up_in_blocks(matrix_of: Any) -> None:
    assert WeightForms("int4").table(matrix_of(_even(8, 40)), multiplied=True) == "float32"
    chosen = WeightForms("int4").table(matrix_of(_even(8, 96)), multiplied=True)
    assert isinstance(chosen, BlockForm)
    assert chosen.block == 32
