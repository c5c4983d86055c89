"""The vision graph: patches of pictures of one grid in, image embeddings out.

The one description of the vision tower. Names and shapes are those of docs/engine-bundle.md.
"""

from __future__ import annotations

from lineside.engines.config import VisionConfig
from lineside.engines.graph.builder import GraphBuilder
from lineside.engines.graph.dialects.base import Angles, Dialect
from lineside.engines.graph.matrix import stored
from lineside.engines.weights import TensorSource

_LAYER_NORM_EPSILON = 1e-6  # the architecture's own; no configuration names it


def describe_vision(
    g: GraphBuilder, dialect: Dialect, checkpoint: TensorSource, config: VisionConfig
) -> None:
    """Writes the whole vision tower into `g`.

    Raises:
        UnsupportedModel: a tensor is missing or has another shape than the configuration says.
    """
    pixels = g.input("pixel_values", "float32", ["B", "P", config.patch_values])
    index = g.input("position_index", "int64", [4, "P"])
    weight = g.input("position_weight", "float32", [4, "P"])
    cos = g.input("rope_cos", "float32", ["P", config.head_dim])
    sin = g.input("rope_sin", "float32", ["P", config.head_dim])
    kernel_shape = (config.hidden, config.channels, config.temporal_patch, config.patch, config.patch)
    kernel = stored(checkpoint, "visual.patch_embed.proj.weight", kernel_shape)
    bias = checkpoint.read("visual.patch_embed.proj.bias", (config.hidden,))
    x = g.op(
        "Add",
        dialect.matmul(g, pixels, kernel, "patch_embed", exact=True),
        g.weight("patch_embed.bias", bias),
    )
    x = g.op("Add", x, _positions(g, checkpoint, config, index, weight))
    angles = Angles(_halved(g, pixels, cos), _halved(g, pixels, sin), config.head_dim)
    for i in range(config.depth):
        name = f"visual.blocks.{i}"
        with g.scope(f"blocks.{i}"):
            normed = _layer_norm(g, checkpoint, f"{name}.norm1", config.hidden, x)
            x = g.op("Add", x, _attention(g, dialect, checkpoint, config, f"{name}.attn", normed, angles))
            normed = _layer_norm(g, checkpoint, f"{name}.norm2", config.hidden, x)
            inner = _linear(
                g, dialect, checkpoint, f"{name}.mlp.linear_fc1", config.hidden, config.intermediate, normed
            )
            inner = g.op("Gelu", inner, approximate="tanh")
            x = g.op(
                "Add",
                x,
                _linear(
                    g,
                    dialect,
                    checkpoint,
                    f"{name}.mlp.linear_fc2",
                    config.intermediate,
                    config.hidden,
                    inner,
                ),
            )
    g.output(
        "image_embeds", _merge(g, dialect, checkpoint, config, x), "float32", ["B", "M", config.out_hidden]
    )


def _positions(
    g: GraphBuilder, checkpoint: TensorSource, config: VisionConfig, index: str, weight: str
) -> str:
    """[P, D]: the learned table at the picture's grid, each patch between four of its rows."""
    table = checkpoint.read("visual.pos_embed.weight", (config.position_side**2, config.hidden))
    corners = g.op("Gather", g.weight("pos_embed", table), index, axis=0)
    weighted = g.op("Mul", corners, g.op("Unsqueeze", weight, g.integers(-1)))
    return g.op("ReduceSum", weighted, g.integers(0), keepdims=0)


def _halved(g: GraphBuilder, pixels: str, angles: str) -> str:
    """[P, head_dim] → [B, P, head_dim/2]: both halves are the same, and rows share them."""
    size = g.op("Shape", angles, start=1, end=2)
    half = g.op("Slice", angles, g.integers(0), g.op("Div", size, g.integers(2)), g.integers(-1))
    rows = g.op("Concat", g.op("Shape", pixels, end=1), g.integers(1, 1), axis=0)
    return g.op("Expand", half, rows)


def _attention(
    g: GraphBuilder,
    dialect: Dialect,
    checkpoint: TensorSource,
    config: VisionConfig,
    name: str,
    x: str,
    angles: Angles,
) -> str:
    width = config.hidden
    qkv = _linear(g, dialect, checkpoint, f"{name}.qkv", width, 3 * width, x)
    qk, v = g.split(qkv, 2 * width, width)
    turned = dialect.rotary(g, qk, angles, 2 * config.heads, config.head_dim)
    q, k = g.split(turned, width, width)
    o = dialect.picture_attention(g, q, k, v, config.heads, config.head_dim)
    return _linear(g, dialect, checkpoint, f"{name}.proj", width, width, o)


def _merge(g: GraphBuilder, dialect: Dialect, checkpoint: TensorSource, config: VisionConfig, x: str) -> str:
    """Neighbouring patches (side by side in merge order) become one embedding of the decoder's width."""
    name, wide = "visual.merger", config.hidden * config.merge**2
    with g.scope("merger"):
        x = _layer_norm(g, checkpoint, f"{name}.norm", config.hidden, x)
        x = g.reshape(x, 0, -1, wide)
        x = g.op("Gelu", _linear(g, dialect, checkpoint, f"{name}.linear_fc1", wide, wide, x))
        return _linear(g, dialect, checkpoint, f"{name}.linear_fc2", wide, config.out_hidden, x)


def _linear(
    g: GraphBuilder, dialect: Dialect, checkpoint: TensorSource, name: str, width: int, out: int, x: str
) -> str:
    short = name.rsplit(".", 1)[-1]
    product = dialect.matmul(g, x, stored(checkpoint, f"{name}.weight", (out, width)), short)
    return g.op("Add", product, g.weight(f"{short}.bias", checkpoint.read(f"{name}.bias", (out,))))


def _layer_norm(g: GraphBuilder, checkpoint: TensorSource, name: str, width: int, x: str) -> str:
    short = name.rsplit(".", 1)[-1]
    scale, bias = (
        g.weight(f"{short}.{part}", checkpoint.read(f"{name}.{part}", (width,)))
        for part in ("weight", "bias")
    )
    return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=_LAYER_NORM_EPSILON)
