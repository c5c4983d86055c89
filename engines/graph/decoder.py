"""The decoder graph: ids, image embeddings and past states in; logits and present states out.

The one description of the decoder. Prefill and decode are the same graph. Names and shapes are those of
docs/engine-bundle.md.
"""

from __future__ import annotations

from lineside.engines.config import DenseMlpConfig, TextConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Angles, Dialect, KeyValueCache, Table
from lineside.engines.graph.layers.full_attention import full_attention
from lineside.engines.graph.layers.linear_attention import linear_attention
from lineside.engines.graph.layers.mlp import mlp
from lineside.engines.graph.layers.moe import moe
from lineside.engines.graph.layers.norms import zero_centred_scale
from lineside.engines.graph.matrix import stored
from lineside.engines.weights import TensorSource


def describe_decoder(g: GraphBuilder, dialect: Dialect, checkpoint: TensorSource, config: TextConfig) -> None:
    """Writes the whole decoder into `g`.

    Raises:
        UnsupportedModel: a tensor is missing or has another shape than the configuration says.
    """
    half = config.rope.rotary_dim // 2
    ids = g.input("input_ids", "int64", ["B", "T"])
    image_embeds = g.input("image_embeds", "float32", ["N", config.hidden])
    image_index = g.input("image_index", "int64", ["B", "T"])
    cos = g.input("rope_cos", "float32", ["B", "T", half])
    sin = g.input("rope_sin", "float32", ["B", "T", half])
    past_length = g.input("past_length", "int64", ["B"])
    wanted = g.input("logit_positions", "int64", ["K"])
    states = [_past(g, dialect, config, i) for i in range(len(config.layer_types))]
    angles = Angles(cos, sin, config.rope.rotary_dim)

    words = (config.vocab_size, config.hidden)
    embedding = dialect.table(
        g, stored(checkpoint, "embed_tokens.weight", words), "embed_tokens", multiplied=config.tied_head
    )
    hidden = _embed(g, dialect, embedding, ids, image_embeds, image_index)
    attended = (
        state for kind, state in zip(config.layer_types, states, strict=True) if kind == "full_attention"
    )
    first_cache = next(attended, None)
    context = dialect.cache_context(g, ids, past_length, KeyValueCache(*first_cache)) if first_cache else ()

    branch: str | None = None
    for i, kind in enumerate(config.layer_types):
        prefix = f"layers.{i}"
        with g.scope(prefix):
            x, hidden = _norm(g, dialect, checkpoint, config, f"{prefix}.input_layernorm", hidden, branch)
            if kind == "linear_attention":
                mixed, *present = linear_attention(g, dialect, checkpoint, config, prefix, x, *states[i])
            else:
                mixed, *present = full_attention(
                    g, dialect, checkpoint, config, prefix, x, angles, KeyValueCache(*states[i]), context
                )
            _present(g, dialect, config, i, present)
            x, hidden = _norm(
                g, dialect, checkpoint, config, f"{prefix}.post_attention_layernorm", hidden, mixed
            )
            if isinstance(config.mlp, DenseMlpConfig):
                branch = mlp(g, dialect, checkpoint, config.mlp, config.hidden, prefix, x)
            else:
                branch = moe(g, dialect, checkpoint, config.mlp, config.hidden, prefix, x)
    if branch is not None:
        hidden = g.op("Add", hidden, branch)

    # Only the asked positions go through the head, the widest product of all.
    last = g.op("Gather", hidden, wanted, axis=1)
    last = dialect.rms_norm(
        g, last, zero_centred_scale(checkpoint, "norm", config.hidden), config.rms_eps, "norm"
    )
    head = embedding
    if not config.tied_head:
        head = dialect.table(g, stored(checkpoint, "lm_head.weight", words), "lm_head", multiplied=True)
    logits = dialect.table_product(g, last, head)
    g.output("logits", logits, "float32", ["B", "K", config.vocab_size])


def _embed(
    g: GraphBuilder, dialect: Dialect, embedding: Table, ids: str, image_embeds: str, image_index: str
) -> str:
    text = dialect.lookup(g, embedding, ids)
    # −1 gathers the last row, which exists by contract and is not chosen below.
    image = g.op("Gather", image_embeds, image_index, axis=0)
    is_image = g.op("GreaterOrEqual", image_index, g.integers(0))
    return g.op("Where", g.op("Unsqueeze", is_image, g.integers(-1)), image, text)


def _norm(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: TextConfig,
    name: str,
    residual: str,
    branch: str | None,
) -> tuple[str, str]:
    """(norm of the residual stream with `branch` added, that stream)."""
    scale = zero_centred_scale(checkpoint, name, config.hidden)
    short = name.rsplit(".", 1)[-1]
    if branch is None:
        return dialect.rms_norm(g, residual, scale, config.rms_eps, short), residual
    return dialect.add_rms_norm(g, branch, residual, scale, config.rms_eps, short)


def _state_shapes(
    dialect: Dialect, config: TextConfig, layer: int, cache_axis: str
) -> dict[str, list[int | str]]:
    """The states of one layer: name → shape."""
    if config.layer_types[layer] == "full_attention":
        cache: list[int | str] = ["B", config.kv_heads, cache_axis, config.head_dim]
        return {"key": cache, "value": cache}
    sizes = config.linear
    dims = [sizes.key_dim, sizes.value_dim]
    if dialect.recurrent_layout == "VK":
        dims.reverse()
    return {
        "conv": ["B", sizes.conv_kernel - 1, sizes.conv_channels],
        "recurrent": ["B", sizes.value_heads, *dims],
    }


def _past(g: GraphBuilder, dialect: Dialect, config: TextConfig, layer: int) -> tuple[str, str]:
    first, second = (
        g.input(f"past.{layer}.{name}", dialect.state_type(name), shape)
        for name, shape in _state_shapes(dialect, config, layer, "S").items()
    )
    return first, second


def _present(g: GraphBuilder, dialect: Dialect, config: TextConfig, layer: int, values: list[str]) -> None:
    shapes = _state_shapes(dialect, config, layer, dialect.present_cache_axis)
    for value, (name, shape) in zip(values, shapes.items(), strict=True):
        g.output(f"present.{layer}.{name}", value, dialect.state_type(name), shape)
