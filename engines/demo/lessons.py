"""From a drawn batch to tensors: token ids with the right answers, where the decisions are, and the losses.

Knows prompts and answers as tokens. Does not know optimisers, files or how parts are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from lineside.engines.demo.crops import engine_pixels
from lineside.engines.demo.feed import Batch
from lineside.engines.demo.model import TEXT_WIDTH, VISION_WIDTH, DemoNetwork
from lineside.engines.demo.questions import QUESTIONS, DemoQuestion, answer_json, right_answer
from lineside.engines.demo.tokens import IMAGE_TOKENS, prompt_ids, special_id
from lineside.engines.demo.truth import PartTruth

LENGTH = 56
FIRST_DECISION = 3  # answer tokens before it: {" answer ":
SKELETON_WEIGHT = 0.02


@dataclass(frozen=True)
class Lesson:
    """One batch for the network: by question, its rows and the column its answer starts at."""

    regions: list[str]
    patches: Tensor
    ids: Tensor
    positions: Tensor
    rows: dict[str, slice]
    answers_at: dict[str, int]
    flaws: Tensor


class Teacher:
    """Turns batches into lessons and measures answers against them."""

    def __init__(self, tokenizer: Tokenizer, network: DemoNetwork) -> None:
        self.tokenizer, self.network = tokenizer, network
        self.prompts = {q.id: prompt_ids(tokenizer, q) for q in QUESTIONS}
        self.end = special_id(tokenizer, "<|im_end|>")
        self.pad = special_id(tokenizer, "<|endoftext|>")
        self.positions = {q.id: network.positions(self.sequence(q, None), q.region) for q in QUESTIONS}

    def sequence(self, question: DemoQuestion, truth: PartTruth | None) -> list[int]:
        """Prompt, right answer, end token and padding."""
        ids = list(self.prompts[question.id])
        if truth is not None:
            text = answer_json(right_answer(question, truth))
            ids += [*self.tokenizer.encode(text, add_special_tokens=False).ids, self.end]
        return ids + [self.pad] * (LENGTH - len(ids))

    def lesson(self, batch: Batch) -> Lesson:
        """All pictures of a batch with their questions and answers."""
        regions: list[str] = []
        ids: list[list[int]] = []
        patches, positions, rows = [], [], {}
        for question in QUESTIONS:
            pictures = batch.pictures[question.region]
            rows[question.id] = slice(len(ids), len(ids) + len(pictures))
            regions += [question.region] * len(pictures)
            ids += [self.sequence(question, truth) for truth in batch.truths[: len(pictures)]]
            patches += [engine_pixels(picture) for picture in pictures]
            positions.append(self.positions[question.id].expand(-1, len(pictures), -1))
        at = {q.id: len(self.prompts[q.id]) for q in QUESTIONS}
        pixels = torch.from_numpy(np.stack(patches))
        return Lesson(
            regions,
            pixels,
            torch.tensor(ids),
            torch.cat(positions, 1),
            rows,
            at,
            torch.from_numpy(batch.flaws),
        )

    def logits(self, lesson: Lesson, hidden: Tensor, question: DemoQuestion) -> tuple[Tensor, Tensor]:
        """Logits and right tokens (pictures, answer tokens) of one question, forced tokens included."""
        start = lesson.answers_at[question.id]
        length = FIRST_DECISION + question.decisions() + 2
        rows = lesson.rows[question.id]
        logits: Tensor = self.network.model.lm_head(hidden[rows, start - 1 : start - 1 + length])
        return logits, lesson.ids[rows, start : start + length]


def decided(question: DemoQuestion) -> slice:
    """Which answer tokens are decisions."""
    return slice(FIRST_DECISION, FIRST_DECISION + question.decisions())


def answer_loss(question: DemoQuestion, logits: Tensor, right: Tensor) -> Tensor:
    """Cross entropy on the decisions, a little on the forced skeleton."""
    losses = functional.cross_entropy(logits.transpose(1, 2), right, reduction="none")
    weights = torch.full((losses.shape[1],), SKELETON_WEIGHT)
    weights[decided(question)] = 1.0 / question.decisions()
    return (losses * weights).sum(1).mean()


class SideHeads(nn.Module):
    """Linear readers of the answer from the image tokens: they speed vision up and are thrown away."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.flaw = nn.Linear(VISION_WIDTH, 1)
        self.readers = nn.ModuleDict(
            {q.id: nn.Linear(IMAGE_TOKENS * TEXT_WIDTH, q.decisions() * vocabulary) for q in QUESTIONS}
        )

    def flaw_loss(self, states: Tensor, flaws: Tensor) -> Tensor:
        """Cross entropy of which patches (caps, 64) show a crack or a stain."""
        found = self.flaw(states)[..., 0]
        return functional.binary_cross_entropy_with_logits(found, flaws, pos_weight=torch.tensor(4.0))

    def loss(self, question: DemoQuestion, pictures: Tensor, right: Tensor) -> Tensor:
        """Cross entropy of the direct reading against the decision tokens."""
        wanted = right[:, decided(question)]
        read: Tensor = self.readers[question.id](pictures.flatten(1))
        return functional.cross_entropy(read.reshape(*wanted.shape, -1).transpose(1, 2), wanted)
