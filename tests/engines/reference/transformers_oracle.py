"""What transformers itself says to a case: the oracle of the live comparison and of the recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from graph_runner import Greedy
from qwen_cases import IMAGE, VIDEO, CasePrompt, Model, Picture


def load_oracle(model: Model, folder: Path) -> Any:
    """The transformers model of a checkpoint, every tensor of which must have been taken."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)  # tiny models: threads that wait for each other cost more than they add
    kind = (
        transformers.Qwen3_5MoeForConditionalGeneration
        if model.family == "moe"
        else transformers.Qwen3_5ForConditionalGeneration
    )
    loaded, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise AssertionError(f"transformers reports {problem}: {report[problem]}")
    return loaded.eval()


def oracle_greedy(oracle: Any, prompt: CasePrompt, steps: int) -> Greedy:
    """Prefill and `steps` greedy tokens through transformers' own positions, vision tower and cache."""
    ids = torch.tensor([prompt.ids])
    types = torch.zeros_like(ids)
    types[ids == IMAGE] = 1
    types[ids == VIDEO] = 2
    images = [p for p in prompt.pictures if not p.clip]
    clips = [p for p in prompt.pictures if p.clip]
    inputs: dict[str, Any] = {}
    for name, grid, pictures in (
        ("pixel_values", "image_grid_thw", images),
        ("pixel_values_videos", "video_grid_thw", clips),
    ):
        if pictures:
            inputs[name] = torch.from_numpy(np.concatenate([_flat(p) for p in pictures]))
            inputs[grid] = torch.tensor([[len(p.values), p.grid_h, p.grid_w] for p in pictures])
    if prompt.pictures:
        inputs["mm_token_type_ids"] = types
    with torch.no_grad():
        out = oracle(input_ids=ids, use_cache=True, **inputs)
        prefill = out.logits[0].numpy()
        delta = int(oracle.model.rope_deltas.item()) if prompt.pictures else 0
        tokens, rows = [int(prefill[-1].argmax())], []
        for i in range(steps):
            position = torch.full((3, 1, 1), ids.shape[1] + i + delta)
            out = oracle(
                input_ids=torch.tensor([[tokens[-1]]]),
                position_ids=position,
                past_key_values=out.past_key_values,
                use_cache=True,
            )
            rows.append(out.logits[0, 0].numpy())
            tokens.append(int(rows[-1].argmax()))
    return Greedy(prefill, np.stack(rows), tuple(tokens))


def _flat(picture: Picture) -> np.ndarray[Any, np.dtype[np.float32]]:
    return picture.values.reshape(-1, picture.values.shape[-1])
