"""From a training checkpoint to a plain Hugging Face folder.

`python -m lineside.engines.demo.export --run DIR --out DIR` writes weights, configuration, tokenizer, chat
template, preprocessing numbers and familiarity statistics; `lineside engine build --demo` makes the bundle.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import Qwen3_5MoeForConditionalGeneration

from lineside.engines.demo.crops import PREPROCESSOR
from lineside.engines.demo.familiar import fit_familiarity
from lineside.engines.demo.model import DemoNetwork, new_network
from lineside.engines.demo.tokens import build_tokenizer, save_tokenizer


def trained_network(run: Path) -> tuple[DemoNetwork, int]:
    """The network of a training run and how many steps it has had."""
    network = new_network(build_tokenizer(), 0)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    network.load_state_dict(state["network"])
    return network.eval(), int(state["step"])


def export(network: DemoNetwork, folder: Path, parts: int = 8000) -> None:
    """Write the whole folder and make sure transformers reads back the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    network.model.save_pretrained(folder)
    tokenizer = save_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    generation = {
        "do_sample": False,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    again = Qwen3_5MoeForConditionalGeneration.from_pretrained(folder).state_dict()
    for name, tensor in network.model.state_dict().items():
        if not torch.equal(tensor, again[name]):
            raise ValueError(f"{name} did not survive saving and loading")
    fit_familiarity(network, folder, parts)


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description="Export a demo engine training run as a Hugging Face folder."
    )
    parser.add_argument("--run", type=Path, required=True, help="the training run's folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = trained_network(options.run)
    export(network, options.out)


if __name__ == "__main__":
    main()
