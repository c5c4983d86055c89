"""A checkpoint whose weights were rounded as a build recorded it, kept as float32: its graphs' reference.

Rows are rounded on their own, so stacking and cutting in the graph builder makes no difference here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lineside.engines.quantise.blocks import BlockForm
from lineside.engines.quantise.forms import Choice, Form, stored_as
from lineside.engines.shards import Array
from lineside.engines.weights import TensorSource

_LABEL = re.compile(r"int(?P<bits>[48])/(?P<block>\d+)(?P<zeros>\+zero)?")


def form_of(label: str) -> Form:
    if label == "float32" or label == "float16":
        return label
    found = _LABEL.fullmatch(label)
    assert found is not None
    return BlockForm(4 if found["bits"] == "4" else 8, int(found["block"]), found["zeros"] is not None)


class RoundedTensors:
    """A `TensorSource` that gives what the recorded forms leave of each weight."""

    def __init__(self, source: TensorSource, choices: Sequence[Choice]) -> None:
        self._source = source
        self._forms: dict[str, Form] = {}
        self._experts: dict[str, Form] = {}
        for choice in choices:
            layer, _, experts = choice.name.partition("/")
            if experts:
                self._experts[f"{layer}.mlp.experts."] = form_of(choice.form)
            for name in choice.name.split("+"):
                self._forms[f"{name}.weight"] = form_of(choice.form)

    def __contains__(self, name: str) -> bool:
        return name in self._source

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        values = self._source.rows(name, shape, start, stop)
        form = self._forms.get(name) or next(
            (form for prefix, form in self._experts.items() if name.startswith(prefix)), None
        )
        if form is None:
            return values
        if values.ndim == 3:  # stacked experts: rows of each
            return np.stack([stored_as(one, form) for one in values])
        return stored_as(values, form)

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.rows(name, shape, 0, shape[0])
