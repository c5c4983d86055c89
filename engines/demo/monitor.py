"""Ask a network in training the demo questions, with torch: for watching a run before a bundle exists.

Greedy over the allowed answers, renormalised as the runtime does. Does not know bundles or grammars.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lineside.engines import familiarity
from lineside.engines.demo.asking import Said
from lineside.engines.demo.canvas import Image
from lineside.engines.demo.crops import engine_pixels, seen
from lineside.engines.demo.export import trained_network
from lineside.engines.demo.familiar import fit_familiarity
from lineside.engines.demo.model import DemoNetwork
from lineside.engines.demo.questions import DemoQuestion, answer_json
from lineside.engines.demo.tokens import build_tokenizer, prompt_ids, token_id
from lineside.engines.demo.truth import CODE_LETTERS


class NetworkAsker:
    """An `Ask` over weights in memory."""

    def __init__(
        self, network: DemoNetwork, tokenizer: Tokenizer, stats: Mapping[str, familiarity.FamiliarityStats]
    ) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.stats = stats

    def _starts(self, question: DemoQuestion) -> list[int]:
        sample = answer_json(0 if question.kind == "count" else "ok")
        return list(self.tokenizer.encode(sample, add_special_tokens=False).ids[:3])

    @staticmethod
    def _allowed(question: DemoQuestion, place: int) -> list[str]:
        if question.kind == "choice":
            return list(question.choices)
        if question.kind == "count":
            return [str(n) for n in range(question.maximum + 1)]
        return list(CODE_LETTERS if place == 0 else "0123456789")

    @torch.no_grad()
    def __call__(self, question: DemoQuestion, crop: Image) -> Said:
        """Answer one question about one raw crop."""
        began = time.perf_counter()
        patches = torch.from_numpy(engine_pixels(seen(crop)))[None]
        pictures = self.network.embed_pictures(patches, [question.region])
        ids = prompt_ids(self.tokenizer, question) + self._starts(question)
        answer, confidence = "", 1.0
        for place in range(question.decisions()):
            probabilities = self._probabilities(question, place, ids, pictures)
            best = int(probabilities.argmax())
            word = self._allowed(question, place)[best]
            answer, confidence = answer + word, confidence * float(probabilities[best])
            ids = [*ids, token_id(self.tokenizer, word)]
        stats = self.stats[question.id]
        far = familiarity.distance(pictures[0].numpy().astype(np.float32), stats) / stats.threshold
        return Said(answer, confidence, far, (time.perf_counter() - began) * 1e3)

    def _probabilities(self, question: DemoQuestion, place: int, ids: list[int], pictures: Tensor) -> Tensor:
        positions = self.network.positions(ids, question.region)
        hidden = self.network.read(torch.tensor([ids]), pictures, positions)
        logits = self.network.model.lm_head(hidden[0, -1])
        allowed = [token_id(self.tokenizer, word) for word in self._allowed(question, place)]
        return torch.softmax(logits[allowed], 0)


def open_run(run: Path) -> tuple[NetworkAsker, dict[str, str]]:
    """A training run's newest weights with familiarity fitted on the spot, and their name in a report."""
    network, step = trained_network(run)
    with tempfile.TemporaryDirectory() as folder:
        fit_familiarity(network, Path(folder), parts=1280)
        stats = familiarity.load_stats(Path(folder) / familiarity.FILE_NAME)
    asker = NetworkAsker(network, build_tokenizer(), stats)
    return asker, {
        "name": "demo engine in training",
        "version": f"step {step}",
        "runtime": "torch",
        "digest": "",
    }
