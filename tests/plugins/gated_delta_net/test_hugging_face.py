"""The kernels against Hugging Face's layer and its two functions, live: `make parity`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = [pytest.mark.host, pytest.mark.parity]

HEAD, KEY_HEADS, VALUE_HEADS, HIDDEN = 32, 2, 4, 48
CHANNELS = (2 * KEY_HEADS + VALUE_HEADS) * HEAD


@pytest.fixture
def torch() -> Any:
    """The module."""
    return pytest.importorskip("torch")


@pytest.fixture
def layer_of_model(torch: Any) -> Any:
    """A Gated DeltaNet layer of Qwen3.5 with random weights, in float32."""
    from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
    from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=4,
        linear_num_key_heads=KEY_HEADS,
        linear_num_value_heads=VALUE_HEADS,
        linear_key_head_dim=HEAD,
        linear_value_head_dim=HEAD,
    )
    layer = Qwen3_5GatedDeltaNet(config, layer_idx=0).float().eval()
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 1.5)
        layer.dt_bias.uniform_(-4, 1)
        for projection in (layer.in_proj_qkv, layer.in_proj_z, layer.in_proj_a, layer.in_proj_b):
            projection.weight.normal_(0, HIDDEN**-0.5)
    return layer


def arrays(torch: Any, layer: Any, hidden: Any) -> dict[str, NDArray[Any]]:
    """What the layer's projections hand to our kernel, at the start of a sequence."""
    with torch.no_grad():
        return {
            "qkv": layer.in_proj_qkv(hidden).numpy(),
            "z": layer.in_proj_z(hidden).numpy(),
            "b": layer.in_proj_b(hidden).numpy(),
            "a": layer.in_proj_a(hidden).numpy(),
            "conv_weight": layer.conv1d.weight.numpy(),
            "A_log": layer.A_log.numpy(),
            "dt_bias": layer.dt_bias.numpy(),
            "norm_weight": layer.norm.weight.numpy(),
            "conv_state": np.zeros((hidden.shape[0], 3, CHANNELS), np.float32),
            "state": np.zeros((hidden.shape[0], VALUE_HEADS, HEAD, HEAD), np.float32),
        }


@pytest.mark.parametrize("tokens", [1, 3, 64, 130])
@pytest.mark.parametrize(
    ("way", "activation", "bound"),
    [
        ("recurrent", "float32", 2e-5),
        ("decoded", "float32", 2e-5),
        ("chunked", "float16", 4e-3),
        ("chunked", "bfloat16", 3e-2),
    ],
)
def test_the_whole_layer(
    torch: Any,
    layer_of_model: Any,
    layer_of: Any,
    distance: Any,
    tokens: int,
    way: str,
    activation: str,
    bound: float,
) -> None:
    hidden = torch.randn(2, tokens, HIDDEN)
    with torch.no_grad():
        expected = layer_of_model(hidden).numpy()
    ours = getattr(layer_of(activation=activation), way)(arrays(torch, layer_of_model, hidden))
    y = torch.from_numpy(np.asarray(ours["y"], np.float32))
    with torch.no_grad():
        found = layer_of_model.out_proj(y).numpy()

    assert distance(found, expected) <= bound


@pytest.mark.parametrize("function", ["torch_recurrent_gated_delta_rule", "torch_chunk_gated_delta_rule"])
def test_the_state_after_a_prompt(
    torch: Any, layer_of: Any, layer_of_model: Any, distance: Any, function: str
) -> None:
    """From a state that is not zero: Hugging Face's is ours transposed."""
    from transformers.models.qwen3_5 import modeling_qwen3_5

    from lineside.plugins.gated_delta_net.naive import convolution

    inputs = layer_of(activation="float32").draw(8, tokens=77, key_heads=KEY_HEADS, value_heads=VALUE_HEADS)
    mixed, _ = convolution({name: np.asarray(x, np.float64) for name, x in inputs.items()})
    split = torch.from_numpy(mixed.astype(np.float32)).reshape(1, 77, -1, HEAD)
    queries, keys, values = split.split([KEY_HEADS, KEY_HEADS, VALUE_HEADS], dim=2)
    rate = torch.from_numpy(inputs["a"] + inputs["dt_bias"])
    _, state = getattr(modeling_qwen3_5, function)(
        queries,
        keys,
        values,
        g=-torch.from_numpy(inputs["A_log"]).exp() * torch.nn.functional.softplus(rate),
        beta=torch.from_numpy(inputs["b"]).sigmoid(),
        initial_state=torch.from_numpy(inputs["state"]).transpose(-1, -2).contiguous(),
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )

    found = layer_of(activation="float32").recurrent(inputs)["next_state"]
    assert distance(found, state.transpose(-1, -2).numpy()) <= 2e-5
