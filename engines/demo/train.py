"""Train the demo engine from nothing: `python -m lineside.engines.demo.train --out DIR`.

Seeded, resumable (`--resume`, a checkpoint a minute, written atomically), on the CPU, parts drawn on the fly.
The schedule is spent by steps or by training minutes, whichever comes first; only steps repeat exactly.
Does not know bundles: it ends with a plain Hugging Face folder that the builder turns into one.
"""

from __future__ import annotations

import argparse
import logging
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lineside.engines.demo.feed import Batch, Shares, batches, draw_batch
from lineside.engines.demo.lessons import SideHeads, Teacher, answer_loss, decided
from lineside.engines.demo.model import DemoNetwork, new_network
from lineside.engines.demo.muon import Muon
from lineside.engines.demo.questions import QUESTIONS
from lineside.engines.demo.tokens import build_tokenizer

log = logging.getLogger("train")
SHARES: Shares = {"cap": 32, "blister": 10, "code": 24}
HELD_OUT_SEED = 1_000_003
WARM_UP = 100
DECAY_FROM = 0.3
FLAW_WEIGHT = 2.0
SAVE_SECONDS, JUDGE_SECONDS = 60.0, 240.0


@dataclass(frozen=True)
class Plan:
    """What one training run is to do."""

    out: Path
    seed: int
    steps: int
    minutes: float
    threads: int


def rate(step: int, progress: float) -> float:
    """The share of the full learning rate: warm-up, plateau, then down, ever slower, to nothing."""
    if progress < DECAY_FROM:
        return min(1.0, (step + 1) / WARM_UP)
    return 1 - math.sqrt(min(1.0, (progress - DECAY_FROM) / (1 - DECAY_FROM)))


class Trainer:
    """Network, side heads and optimisers with the count of steps and seconds already spent."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        tokenizer = build_tokenizer()
        self.network: DemoNetwork = new_network(tokenizer, plan.seed)
        self.sides = SideHeads(tokenizer.get_vocab_size())
        self.teacher = Teacher(tokenizer, self.network)
        hidden, rest = self._split()
        self.muon = Muon(hidden, lr=0.02)
        self.adam = torch.optim.AdamW(rest, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
        self.step, self.seconds = 0, 0.0

    def _split(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        hidden: list[nn.Parameter] = []
        rest: list[nn.Parameter] = list(self.sides.parameters())
        for name, parameter in self.network.model.named_parameters():
            matrix = parameter.ndim in (2, 3) and "conv1d" not in name
            outer = any(part in name for part in ("embed", "lm_head", "gate.weight", "shared_expert_gate"))
            (hidden if matrix and not outer else rest).append(parameter)
        return hidden, rest

    @property
    def progress(self) -> float:
        """How much of the plan is spent, 0 to 1."""
        return max(self.step / self.plan.steps, self.seconds / (60 * self.plan.minutes))

    def losses(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Answer loss, side loss and whether each whole answer is right, by question."""
        lesson = self.teacher.lesson(batch)
        pictures, states = self.network.look(lesson.patches, lesson.regions)
        hidden = self.network.read(lesson.ids, pictures, lesson.positions)
        found = {}
        for question in QUESTIONS:
            logits, right = self.teacher.logits(lesson, hidden, question)
            side = self.sides.loss(question, pictures[lesson.rows[question.id]], right)
            if question.id == "cap":
                side = side + FLAW_WEIGHT * self.sides.flaw_loss(states[lesson.rows["cap"]], lesson.flaws)
            part = decided(question)
            hits = (logits[:, part].argmax(-1) == right[:, part]).all(1)
            found[question.id] = (answer_loss(question, logits, right), side, hits)
        return found

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; the answer losses by question."""
        share, aside = rate(self.step, self.progress), 1.0 - 0.7 * self.progress
        for optimiser, full in ((self.muon, 0.02), (self.adam, 1e-3)):
            for group in optimiser.param_groups:
                group["lr"] = full * share
        found = self.losses(batch)
        total = torch.stack([answer + aside * side for answer, side, _ in found.values()]).sum()
        self.muon.zero_grad(set_to_none=True)
        self.adam.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*self.network.parameters(), *self.sides.parameters()], 5.0)
        self.muon.step()
        self.adam.step()
        self.step += 1
        return {name: float(answer.detach()) for name, (answer, _, _) in found.items()}

    @torch.no_grad()
    def judge(self, held_out: list[Batch]) -> dict[str, float]:
        """Share of held-out answers that are wholly right, by question."""
        hits: dict[str, list[Tensor]] = {q.id: [] for q in QUESTIONS}
        for batch in held_out:
            for name, (_, _, right) in self.losses(batch).items():
                hits[name].append(right)
        return {name: float(torch.cat(parts).float().mean()) for name, parts in hits.items()}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "network": self.network.state_dict(),
            "sides": self.sides.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves the old or the new one, never half of one."""
        half = self.plan.out / "checkpoint.pt.part"
        torch.save(self.state(), half)
        half.replace(self.plan.out / "checkpoint.pt")

    def load(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.plan.out / "checkpoint.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.sides.load_state_dict(state["sides"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.seconds = state["step"], state["seconds"]


def run(trainer: Trainer) -> None:
    """Train until the plan is spent, saving and judging on the way."""
    held_out = [draw_batch(HELD_OUT_SEED, number, dict.fromkeys(SHARES, 60)) for number in range(6)]
    stream = batches(trainer.plan.seed, trainer.step, trainer.plan.steps, SHARES)
    saved = judged = time.monotonic()
    smooth: dict[str, float] = {}
    began = time.monotonic()
    for batch in stream:
        for name, loss in trainer.learn(batch).items():
            smooth[name] = 0.98 * smooth.get(name, loss) + 0.02 * loss
        now = time.monotonic()
        trainer.seconds += now - began
        pace, began = sum(SHARES.values()) / (now - began), now
        if trainer.step % 25 == 0:
            shown = " ".join(f"{name} {loss:.4f}" for name, loss in smooth.items())
            log.info(
                "step %d %.1f%% loss %s %.0f pictures/s", trainer.step, 100 * trainer.progress, shown, pace
            )
        done = trainer.progress >= 1.0
        if done or now - judged > JUDGE_SECONDS:
            scores = " ".join(f"{name} {score:.4f}" for name, score in trainer.judge(held_out).items())
            log.info("held-out after %d pictures: %s", trainer.step * sum(SHARES.values()), scores)
            judged = time.monotonic()
        if done or now - saved > SAVE_SECONDS:
            trainer.save()
            saved = time.monotonic()
        if done:
            stream.close()
            return


def main() -> None:
    """Parse the command line, train, export."""
    parser = argparse.ArgumentParser(description="Train the Lineside demo engine.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint, log and exported model"
    )
    parser.add_argument("--minutes", type=float, default=240.0, help="training minutes at most (default 240)")
    parser.add_argument("--steps", type=int, default=5000, help="steps at most (default 5000)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(options.out / "train.log"),
        logging.StreamHandler(),
    ]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    torch.set_num_threads(options.threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    trainer = Trainer(Plan(options.out, options.seed, options.steps, options.minutes, options.threads))
    if options.resume:
        trainer.load()
    elif (options.out / "checkpoint.pt").exists():
        raise SystemExit(f"{options.out} already holds a checkpoint; add --resume or choose another folder")
    log.info("%d parameters", sum(p.numel() for p in trainer.network.parameters()))
    try:
        run(trainer)
    except KeyboardInterrupt:
        trainer.save()
        log.info("stopped at step %d; go on with --resume", trainer.step)


if __name__ == "__main__":
    main()
