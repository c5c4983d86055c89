"""Records what transformers answers to every case: `python tests/parity/record_reference.py`.

Writes `tests/engines/reference/recorded.npz`, against which the graphs are tested where there is no PyTorch.
Needs the `parity` extra. Run it again when the cases or the pinned transformers change, and commit the file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).resolve().parents[1] / "engines" / "reference"
sys.path.insert(0, str(REFERENCE))

from qwen_cases import DECODE_STEPS, MODELS, PROMPT_KINDS, prompt_of, write_checkpoint  # noqa: E402
from transformers_oracle import load_oracle, oracle_greedy  # noqa: E402


def main() -> None:
    """Asks every model every prompt and writes the file."""
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as place:
        for model in MODELS:
            oracle = load_oracle(model, write_checkpoint(model, Path(place) / model.name))
            for kind in PROMPT_KINDS:
                said = oracle_greedy(oracle, prompt_of(kind), DECODE_STEPS)
                name = f"{model.name}/{kind}"
                arrays[f"{name}/prefill"] = said.prefill
                arrays[f"{name}/steps"] = said.steps
                arrays[f"{name}/tokens"] = np.array(said.tokens, np.int32)
                print(name, said.tokens[:8])
    np.savez_compressed(REFERENCE / "recorded.npz", **arrays)


if __name__ == "__main__":
    main()
