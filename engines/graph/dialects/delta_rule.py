"""The gated delta rule in basic operators, for compilers without an operator of their own.

One token as it is, many in chunks: inside a chunk everything is a matrix product, and a Scan carries the
state from chunk to chunk. All of it in float32. Knows the mathematics; does not know compilers.
"""

from __future__ import annotations

import numpy as np

from lineside.engines.config import LinearAttentionConfig
from lineside.engines.graph.builder import GraphBuilder

CHUNK = 16
"""Tokens a chunk. The triangular inverse by repeated squaring loses what its intermediate powers exceed the
result by: with keys all alike that is C(15, 7) = 6435 here, and 10¹⁸ at 64."""

_L2_EPSILON = 1e-6
_NEVER = -1e9  # the logarithm of a decay that leaves nothing


def unit_heads(g: GraphBuilder, x: str, sizes: LinearAttentionConfig) -> str:
    """[B, T, keys] → [B, T, value_heads, key_dim]: heads of length one, repeated for who shares them."""
    heads = g.reshape(x, 0, 0, sizes.key_heads, sizes.key_dim)
    square = g.op("ReduceSum", g.op("Mul", heads, heads), g.integers(-1), keepdims=1)
    unit = g.op("Div", heads, g.op("Sqrt", g.op("Add", square, g.scalar(_L2_EPSILON))))
    share = sizes.value_heads // sizes.key_heads
    if share == 1:
        return unit
    repeated = g.op("Concat", *[g.op("Unsqueeze", unit, g.integers(3))] * share, axis=3)
    return g.reshape(repeated, 0, 0, sizes.value_heads, sizes.key_dim)


def one_token(
    g: GraphBuilder,
    q: str,
    k: str,
    v: str,
    log_decay: str,
    beta: str,
    state: str,
    sizes: LinearAttentionConfig,
) -> tuple[str, str]:
    """S ← e^g·S; S ← S + k·(β·(v − Sᵀk))ᵀ; o = Sᵀq, for T = 1.

    q, k [B, 1, heads, key_dim]; v [B, 1, heads, value_dim]; gates [B, 1, heads]; state [B, heads, key_dim,
    value_dim]. Gives (o [B, 1, values], present state).
    """
    heads, key_dim = sizes.value_heads, sizes.key_dim
    query, key = (g.reshape(x, 0, heads, 1, key_dim) for x in (q, k))
    value = g.reshape(v, 0, heads, 1, sizes.value_dim)
    decay, step = (g.reshape(x, 0, heads, 1, 1) for x in (g.op("Exp", log_decay), beta))
    faded = g.op("Mul", state, decay)
    surprise = g.op("Sub", value, g.op("MatMul", key, faded))
    column = g.reshape(k, 0, heads, key_dim, 1)
    after = g.op("Add", faded, g.op("Mul", column, g.op("Mul", surprise, step)))
    return g.reshape(g.op("MatMul", query, after), 0, 1, sizes.value_width), after


def many_tokens(
    g: GraphBuilder,
    q: str,
    k: str,
    v: str,
    log_decay: str,
    beta: str,
    state: str,
    sizes: LinearAttentionConfig,
    chunk: int = CHUNK,
) -> tuple[str, str]:
    """The same for any T, `chunk` (a power of two) tokens at a time; arguments as of `one_token`.

    With G the running sum of g in a chunk, D_ij = e^(G_i − G_j) for j ≤ i, A the part of (β·K·Kᵀ)∘D below
    the diagonal: (I + A)⁻¹·β·(V − e^G·K·S) is what each token adds, and no token waits for another.
    """
    heads = sizes.value_heads
    count = g.op("Shape", q, start=1, end=2)
    missing = g.op("Mod", g.op("Sub", g.integers(0), count), g.integers(chunk))

    def cut(x: str, *inner: int) -> str:
        """[B, T, heads, …] → [chunks, B, heads, chunk, …], the last filled up with zeros."""
        axes = 3 if not inner else 4
        pads = g.op("Concat", g.integers(*[0] * (axes + 1)), missing, g.integers(*[0] * (axes - 2)), axis=0)
        whole = g.reshape(g.op("Pad", x, pads, mode="constant"), 0, -1, chunk, heads, *inner)
        return g.op("Transpose", whole, perm=[1, 0, 3, 2, *([4] if inner else [])])

    queries, keys = cut(q, sizes.key_dim), cut(k, sizes.key_dim)
    values = cut(v, sizes.value_dim)
    fades, steps = cut(log_decay), g.op("Unsqueeze", cut(beta), g.integers(-1))
    ones = np.ones((chunk, chunk), np.float32)
    total = g.op("MatMul", fades, g.constant(np.triu(ones)))  # G [.., chunk]
    rows, columns = (g.op("Unsqueeze", total, g.integers(axis)) for axis in (-1, -2))
    before = g.constant(np.tril(ones).astype(bool))
    gap = g.op("Where", before, g.op("Sub", rows, columns), g.scalar(_NEVER))
    between = g.op("Exp", gap)  # D
    turned = g.op("Transpose", keys, perm=[0, 1, 2, 4, 3])
    alike = g.op("Mul", g.op("Mul", g.op("MatMul", keys, turned), between), steps)
    below = g.op("Mul", alike, g.constant(-np.tril(ones, -1)))  # −A
    solved = _inverse(g, below, chunk)
    grown = g.op("Exp", rows)  # e^G, a column
    new = g.op("MatMul", solved, g.op("Mul", values, steps))
    old = g.op("MatMul", solved, g.op("Mul", keys, g.op("Mul", steps, grown)))
    seen = g.op("Mul", g.op("MatMul", queries, turned), between)
    asked = g.op("Mul", queries, grown)
    end = g.op("Slice", rows, g.integers(-1), g.integers(np.iinfo(np.int64).max), g.integers(3))
    kept = g.op("Mul", turned, g.op("Exp", g.op("Sub", g.reshape(end, 0, 0, 0, 1, 1), columns)))
    present, o = g.ops(
        "Scan",
        state,
        new,
        old,
        seen,
        asked,
        kept,
        g.op("Exp", end),
        outputs=2,
        num_scan_inputs=6,
        body=_one_chunk(g, sizes, chunk).graph(),
    )
    o = g.reshape(g.op("Transpose", o, perm=[1, 0, 3, 2, 4]), 0, -1, 1, sizes.value_width)
    # What was filled up goes again; a product's shape says how long it is.
    o = g.op("Slice", o, g.integers(0), count, g.integers(1))
    return g.reshape(o, 0, -1, sizes.value_width), present


def _inverse(g: GraphBuilder, below: str, size: int) -> str:
    """(I − N)⁻¹ for N strictly below the diagonal: (I + N)(I + N²)(I + N⁴)… until the power is zero."""
    identity = g.constant(np.eye(size, dtype=np.float32))
    solved, power, reach = g.op("Add", below, identity), below, 2
    while reach < size:
        power = g.op("MatMul", power, power)
        solved = g.op("Add", solved, g.op("MatMul", solved, power))
        reach *= 2
    return solved


def _one_chunk(g: GraphBuilder, sizes: LinearAttentionConfig, chunk: int) -> GraphBuilder:
    """What waits for the state: Vn = new − old·S; o = asked·S + seen·Vn; S ← e^G·S + kept·Vn."""
    heads, key_dim, value_dim = sizes.value_heads, sizes.key_dim, sizes.value_dim
    body = g.subgraph("delta_rule")

    def given(name: str, *shape: int) -> str:
        return body.input(body.fresh(name), "float32", ["B", heads, *shape])

    state = given("state", key_dim, value_dim)
    new, old = given("new", chunk, value_dim), given("old", chunk, key_dim)
    seen, asked = given("seen", chunk, chunk), given("asked", chunk, key_dim)
    kept, faded = given("kept", key_dim, chunk), given("faded", 1, 1)
    added = body.op("Sub", new, body.op("MatMul", old, state))
    o = body.op("Add", body.op("MatMul", asked, state), body.op("MatMul", seen, added))
    after = body.op("Add", body.op("Mul", state, faded), body.op("MatMul", kept, added))
    body.output(after, after, "float32", ["B", heads, key_dim, value_dim])
    body.output(o, o, "float32", ["B", heads, chunk, value_dim])
    return body
