"""The demo engine's network: a tiny `Qwen3_5MoeForConditionalGeneration`, and a fast batched pass through it.

All pictures are 64 patches and 16 image tokens, so a mixed batch goes through vision at once; the same
weights give the same numbers through transformers' own forward (a test holds it to that). Does not know
optimisers or parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from lineside.engines.demo.tokens import IMAGE_TOKENS, special_id

GRIDS = {"cap": (1, 8, 8), "blister": (1, 8, 8), "code": (1, 4, 16)}
VISION_WIDTH, TEXT_WIDTH = 128, 96


def demo_config(tokenizer: Tokenizer) -> Qwen3_5MoeConfig:
    """The sizes: vision 4 x 128 on 8-pixel patches; text 4 x 96 (three linear, one full), 4 experts."""
    names = ("image_pad", "video_pad", "vision_start", "vision_end", "im_end", "endoftext")
    ids = {name: special_id(tokenizer, f"<|{name}|>") for name in names}
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": TEXT_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "shared_expert_intermediate_size": 96,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "pad_token_id": ids["endoftext"],
        "eos_token_id": ids["im_end"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 4,
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 2 * VISION_WIDTH,
        "num_heads": 4,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": TEXT_WIDTH,
        "num_position_embeddings": 256,
    }
    return Qwen3_5MoeConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=False,
    )


@dataclass(frozen=True)
class Place:
    """What a picture's grid fixes: interpolated positions' gather and weights, and the rotary angles."""

    indices: Tensor
    weights: Tensor
    cos: Tensor
    sin: Tensor


class DemoNetwork(nn.Module):
    """The transformers model with a batched forward for equal-sized pictures."""

    def __init__(self, model: Qwen3_5MoeForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        self.places = {region: self._place(grid) for region, grid in GRIDS.items()}

    def _place(self, grid: tuple[int, int, int]) -> Place:
        visual = self.model.model.visual
        thw = torch.tensor([grid])
        indices, weights = get_vision_interpolation_indices_and_weights(
            thw,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
            kwargs={},
        )
        positions = get_vision_position_ids(thw, visual.spatial_merge_size, kwargs={})
        cos, sin = visual.rotary_pos_emb(weights, positions)
        return Place(indices, weights, cos, sin)

    def embed_pictures(self, patches: Tensor, regions: list[str]) -> Tensor:
        """Image tokens (pictures, 16, text width) of flat patches (pictures, 64, 384) by region."""
        return self.look(patches, regions)[0]

    def look(self, patches: Tensor, regions: list[str]) -> tuple[Tensor, Tensor]:
        """Image tokens, and the patch states (pictures, 64, vision width) they are merged from."""
        visual = self.model.model.visual
        weight = visual.patch_embed.proj.weight
        x = functional.linear(patches, weight.reshape(weight.shape[0], -1), visual.patch_embed.proj.bias)
        tables = {
            r: (visual.pos_embed(p.indices) * p.weights[:, :, None]).sum(1)
            for r, p in self.places.items()
            if r in regions
        }
        x = x + torch.stack([tables[r] for r in regions])
        cos = torch.stack([self.places[r].cos for r in regions])[:, None]
        sin = torch.stack([self.places[r].sin for r in regions])[:, None]
        for block in visual.blocks:
            x = self._block(block, x, cos, sin)
        merged: Tensor = visual.merger(x.reshape(-1, x.shape[-1]))
        return merged.reshape(patches.shape[0], IMAGE_TOKENS, -1), x

    @staticmethod
    def _block(block: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        attention = block.attn
        n, patches, width = x.shape
        heads = attention.num_heads
        q, k, v = attention.qkv(block.norm1(x)).reshape(n, patches, 3, heads, -1).permute(2, 0, 3, 1, 4)
        half = q.shape[-1] // 2
        q = q * cos + torch.cat((-q[..., half:], q[..., :half]), -1) * sin
        k = k * cos + torch.cat((-k[..., half:], k[..., :half]), -1) * sin
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, patches, width)
        x = x + attention.proj(mixed)
        out: Tensor = x + block.mlp(block.norm2(x))
        return out

    def positions(self, ids: list[int], region: str) -> Tensor:
        """The three rotary position streams (3, 1, tokens) of one sequence."""
        tokens = torch.tensor([ids])
        kinds = (tokens == self.model.config.image_token_id).int()
        found, _ = self.model.model.get_rope_index(
            tokens, image_grid_thw=torch.tensor([GRIDS[region]]), mm_token_type_ids=kinds
        )
        result: Tensor = found
        return result

    def read(self, ids: Tensor, pictures: Tensor, positions: Tensor) -> Tensor:
        """Final hidden states (sequences, tokens, width) with the pictures in their placeholders."""
        text = self.model.model.language_model
        embeds = text.embed_tokens(ids)
        holes = (ids == self.model.config.image_token_id)[..., None]
        embeds = embeds.masked_scatter(holes, pictures.reshape(-1, pictures.shape[-1]))
        hidden: Tensor = text(inputs_embeds=embeds, position_ids=positions, use_cache=False).last_hidden_state
        return hidden


def new_network(tokenizer: Tokenizer, seed: int) -> DemoNetwork:
    """A network with fresh weights."""
    torch.manual_seed(seed)
    return DemoNetwork(Qwen3_5MoeForConditionalGeneration(demo_config(tokenizer)))
