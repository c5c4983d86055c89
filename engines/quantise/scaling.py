"""Per-channel scales folded between neighbouring layers, so that what matters is rounded less.

A channel that carries large values is multiplied in the weight that reads it and divided in what produces it:
the product is the same, and the weight's rounding there counts for less. Knows which layers of the model
neighbour each other; does not know where samples come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineside.engines.config import DenseMlpConfig, TextConfig
from lineside.engines.graph.matrix import Matrix, stack, stored
from lineside.engines.quantise.blocks import BlockForm, Floats
from lineside.engines.quantise.forms import error_of, sampled_rows
from lineside.engines.shards import Array
from lineside.engines.weights import TensorSource

_STRENGTHS = (0.25, 0.5, 0.75)
_AT_LEAST = 0.99  # a smaller gain may be the samples' own noise
_LIMIT = 64.0
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.")


@dataclass(frozen=True, slots=True)
class ScaledGroup:
    """Where one vector of scales goes.

    `norm` or `rows`: the tensor that produces the channels (divided); `columns`: those that read them
    (multiplied), experts as `.experts.*.`; `measured`: what is rounded of them.
    """

    norm: str | None
    rows: str | None
    columns: tuple[str, ...]
    measured: Matrix


@dataclass(frozen=True, slots=True)
class Scales:
    """Tensor name → scales of its columns, of its rows, or of a norm."""

    columns: Mapping[str, Floats]
    rows: Mapping[str, Floats]
    norms: Mapping[str, Floats]


class ScaledTensors:
    """A source with scales folded in (`TensorSource`): the same model, its channels evened out."""

    def __init__(self, source: TensorSource, scales: Scales) -> None:
        self._source = source
        self._scales = scales

    def __contains__(self, name: str) -> bool:
        return name in self._source

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> Array:
        """Some rows, scaled."""
        values = self._source.rows(name, shape, start, stop)
        norm = self._scales.norms.get(name)
        if norm is not None:  # stored around zero: the scale is one plus what is stored
            return (np.float32(1) + values) / norm[start:stop] - np.float32(1)
        columns = self._scales.columns.get(_ONE_EXPERT.sub(".experts.*.", name))
        if columns is not None:
            values = values * columns
        rows = self._scales.rows.get(name)
        if rows is not None:
            values = values / rows[start:stop, None]
        return values

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """A whole tensor, scaled."""
        return self.rows(name, shape, 0, shape[0] if shape else 1)


def groups_of(config: TextConfig, source: TensorSource) -> list[ScaledGroup]:
    """Every place of a decoder where scales can be folded without changing the model."""
    groups: list[ScaledGroup] = []
    hidden = config.hidden
    for i, kind in enumerate(config.layer_types):
        layer = f"layers.{i}"

        def read(name: str, rows: int, width: int = hidden, layer: str = layer) -> Matrix:
            return stored(source, f"{layer}.{name}.weight", (rows, width))

        if kind == "linear_attention":
            sizes = config.linear
            wide = stack(
                read("linear_attn.in_proj_qkv", sizes.conv_channels),
                read("linear_attn.in_proj_z", sizes.value_width),
            )
            names = [f"linear_attn.in_proj_{part}" for part in ("qkv", "z", "a", "b")]
        else:
            kv = config.kv_heads * config.head_dim
            wide = stack(
                read("self_attn.q_proj", 2 * config.heads * config.head_dim),
                read("self_attn.k_proj", kv),
                read("self_attn.v_proj", kv),
            )
            names = [f"self_attn.{part}_proj" for part in ("q", "k", "v")]
        groups.append(_normed(layer, "input_layernorm", names, wide))
        dense = isinstance(config.mlp, DenseMlpConfig)
        prefix = "mlp" if dense else "mlp.shared_expert"
        inner = (
            config.mlp.intermediate
            if isinstance(config.mlp, DenseMlpConfig)
            else config.mlp.shared_intermediate
        )
        wide = stack(read(f"{prefix}.gate_proj", inner), read(f"{prefix}.up_proj", inner))
        names = [f"{prefix}.gate_proj", f"{prefix}.up_proj"]
        if not dense:
            names += ["mlp.gate", "mlp.shared_expert_gate"]
            names += [f"mlp.experts.*.{part}_proj" for part in ("gate", "up")]
        group = _normed(layer, "post_attention_layernorm", names, wide)
        if not dense:
            group = ScaledGroup(
                group.norm, None, (*group.columns, f"{layer}.mlp.experts.gate_up_proj"), group.measured
            )
        groups.append(group)
        # The gate's silu bends: only the straight path, through up, takes a scale.
        groups.append(
            ScaledGroup(
                None,
                f"{layer}.{prefix}.up_proj.weight",
                (f"{layer}.{prefix}.down_proj.weight",),
                read(f"{prefix}.down_proj", hidden, inner),
            )
        )
    return groups


def _normed(layer: str, norm: str, names: Sequence[str], measured: Matrix) -> ScaledGroup:
    return ScaledGroup(
        f"{layer}.{norm}.weight", None, tuple(f"{layer}.{name}.weight" for name in names), measured
    )


def choose_scales(
    groups: Sequence[ScaledGroup], samples: Mapping[str, Floats], form: BlockForm
) -> tuple[Scales, dict[str, Floats]]:
    """The scales that lower the measured error, and the samples as they are under them.

    `samples`: a matrix's name → rows [n, in] that real inputs sent through it. A group whose error no
    strength lowers by at least a hundredth keeps its weights as they are.
    """
    columns: dict[str, Floats] = {}
    rows: dict[str, Floats] = {}
    norms: dict[str, Floats] = {}
    scaled = dict(samples)
    for group in groups:
        inputs = samples.get(group.measured.name)
        if inputs is None:
            continue
        scales = _best_scales(sampled_rows(group.measured), inputs, form)
        if scales is None:
            continue
        scaled[group.measured.name] = inputs / scales
        columns.update(dict.fromkeys(group.columns, scales))
        if group.norm is not None:
            norms[group.norm] = scales
        if group.rows is not None:
            rows[group.rows] = scales
    return Scales(columns, rows, norms), scaled


def _best_scales(weight: Floats, inputs: Floats, form: BlockForm) -> Floats | None:
    size = np.abs(inputs).mean(axis=0)
    typical = float(np.exp(np.log(size[size > 0]).mean())) if (size > 0).any() else 0.0
    if not typical:
        return None
    least = _AT_LEAST * error_of(form, [weight], inputs)
    best: Floats | None = None
    for strength in _STRENGTHS:
        scales = np.clip((size / typical) ** strength, 1 / _LIMIT, _LIMIT).astype(np.float32)
        error = error_of(form, [weight * scales], inputs / scales)
        if error < least:
            best, least = scales, error
    return best
