"""What a dialect must be able to say: one row for each operator that runtimes name differently.

Shapes: `B` rows, `T` new tokens. Heads lie side by side in the last axis unless said otherwise. Everything
that is the same in every dialect (projections' layout, gates, residuals, embeddings) stays out of here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import ElementType, GraphBuilder
from lineside.engines.graph.matrix import Matrix
from lineside.engines.quantise.forms import Form

Floats = NDArray[np.float32]
RecurrentLayout = Literal["KV", "VK"]


@dataclass(frozen=True, slots=True)
class DeltaNetWeights:
    """Per value head: decay is −exp(`a_log`)·softplus(a + `dt_bias`)."""

    a_log: Floats
    dt_bias: Floats


@dataclass(frozen=True, slots=True)
class ExpertWeights:
    """`count` experts, read one at a time.

    `gate_up(i)`: (gate, up), [inner, hidden] each; `down(i)`: [hidden, inner].
    """

    count: int
    inner: int
    hidden: int
    gate_up: Callable[[int], tuple[Floats, Floats]]
    down: Callable[[int], Floats]


@dataclass(frozen=True, slots=True)
class Table:
    """Names of a stored table's parts and what it is: `shape` [rows, width] of `form`."""

    values: str
    shape: tuple[int, int]
    form: Form
    scales: str = ""
    zeros: str = ""


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """Attention heads: `heads` queries share `kv_heads` keys and values, each `head_dim` wide."""

    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """Names of one layer's past keys and values, [B, kv_heads, S, head_dim]."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Angles:
    """Names of `cos` and `sin`, [B, T, dim/2], which turn `dim` values of each head."""

    cos: str
    sin: str
    dim: int


class Dialect(Protocol):
    """One runtime's way to say the special operators."""

    @property
    def name(self) -> str:
        """As the manifest says it."""
        ...

    @property
    def recurrent_layout(self) -> RecurrentLayout:
        """Which of key and value dimension comes first in a recurrent state."""
        ...

    @property
    def present_cache_axis(self) -> str:
        """Name of the cache axis that comes out: the capacity that went in, or a longer one."""
        ...

    def state_type(self, name: str) -> ElementType:
        """What the numbers of a state are: of `key`, `value`, `conv` or `recurrent`."""
        ...

    @property
    def rounds_weights(self) -> bool:
        """Whether products lose precision, so that exact ones must be kept apart from them."""
        ...

    def matmul(self, g: GraphBuilder, x: str, weight: Matrix, name: str, *, exact: bool = False) -> str:
        """x [.., in] by a weight [out, in] as checkpoints store it; an `exact` one stays float32."""
        ...

    def table(self, g: GraphBuilder, weight: Matrix, name: str, *, multiplied: bool) -> Table:
        """Stores a table [rows, width] for `lookup`, and for `table_product` where it is `multiplied`."""
        ...

    def lookup(self, g: GraphBuilder, table: Table, ids: str) -> str:
        """The rows `ids` of a table, as float32."""
        ...

    def table_product(self, g: GraphBuilder, x: str, table: Table) -> str:
        """x [B, T, width] by every row of a table: [B, T, rows]."""
        ...

    def rms_norm(self, g: GraphBuilder, x: str, scale: Floats, epsilon: float, name: str) -> str:
        """x/rms(x)·scale over the last axis."""
        ...

    def add_rms_norm(
        self, g: GraphBuilder, x: str, residual: str, scale: Floats, epsilon: float, name: str
    ) -> tuple[str, str]:
        """(norm of x + residual, x + residual)."""
        ...

    def gated_rms_norm(
        self, g: GraphBuilder, x: str, gate: str, scale: Floats, epsilon: float, name: str
    ) -> str:
        """Each head of x [B, T, heads·dim] normed with one scale [dim], times silu(gate)."""
        ...

    def causal_conv(self, g: GraphBuilder, x: str, weight: Floats, state: str, name: str) -> tuple[str, str]:
        """silu of a depthwise causal convolution over x [B, T, C].

        `weight` [C, 1, K]; `state` [B, K−1, C] holds the inputs before x. Gives (y, present state).
        """
        ...

    def gated_delta_net(
        self,
        g: GraphBuilder,
        qkv: str,
        a: str,
        b: str,
        state: str,
        weights: DeltaNetWeights,
        sizes: LinearAttentionConfig,
    ) -> tuple[str, str]:
        """The gated delta rule over qkv [B, T, 2·keys + values] with gates a, b [B, T, value_heads].

        Queries and keys are normalised inside. Gives (o [B, T, values], present state).
        """
        ...

    def rotary(self, g: GraphBuilder, x: str, angles: Angles, heads: int, head_dim: int) -> str:
        """Turns the first `angles.dim` values of each head of x [B, T, heads·head_dim].

        Pairs are (i, i + half of `angles.dim`).
        """
        ...

    def cache_context(
        self, g: GraphBuilder, input_ids: str, past_length: str, cache: KeyValueCache
    ) -> tuple[str, ...]:
        """What every attention layer of the decoder needs of the lengths, computed once."""
        ...

    def gqa_attention(
        self,
        g: GraphBuilder,
        q: str,
        k: str,
        v: str,
        cache: KeyValueCache,
        context: tuple[str, ...],
        layout: HeadLayout,
    ) -> tuple[str, str, str]:
        """Causal attention over the cache and the new tokens. Gives (o, present keys, present values)."""
        ...

    def picture_attention(self, g: GraphBuilder, q: str, k: str, v: str, heads: int, head_dim: int) -> str:
        """Attention of everything to everything within each row."""
        ...

    def experts(
        self, g: GraphBuilder, x: str, router_logits: str, weights: ExpertWeights, chosen: int, name: str
    ) -> str:
        """The `chosen` best experts of each token, weighted by the softmax over their logits alone."""
        ...
