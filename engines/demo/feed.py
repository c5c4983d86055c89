"""Training and held-out examples: parts drawn on the fly, never a fixed set.

Batch `k` of a seed is always the same, whoever draws it. Does not know torch.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from queue import Full
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lineside.engines.demo.crops import crops_of, flawed_patches, seen, shoot
from lineside.engines.demo.truth import PartTruth, balanced_truth


@dataclass(frozen=True)
class Batch:
    """Parts and, by region, what the engine sees of the first so many; patches of caps that show flaws."""

    truths: tuple[PartTruth, ...]
    pictures: dict[str, npt.NDArray[np.uint8]]
    flaws: npt.NDArray[np.float32]


Shares = dict[str, int]


def draw_batch(seed: int, number: int, shares: Shares) -> Batch:
    """Batch `number` of the stream that `seed` starts, with `shares[region]` pictures of each region."""
    rng = np.random.default_rng((seed, number))
    truths = tuple(balanced_truth(rng) for _ in range(max(shares.values())))
    shots = [shoot(truth, rng) for truth in truths]
    crops = [crops_of(shot) for shot in shots]
    flaws = np.stack([flawed_patches(shot) for shot in shots[: shares["cap"]]])
    return Batch(
        truths, {r: np.stack([seen(crop[r]) for crop in crops[:n]]) for r, n in shares.items()}, flaws
    )


def _draw_forever(queue: Any, seed: int, start: int, stop: int, shares: Shares) -> None:
    """Draw until the last batch or until the trainer is gone, however it went."""
    cv2.setNumThreads(1)
    trainer = multiprocessing.parent_process()
    for number in range(start, stop):
        batch = draw_batch(seed, number, shares)
        while trainer is not None and trainer.is_alive():
            with suppress(Full):
                queue.put(batch, timeout=2.0)
                break
        else:
            queue.cancel_join_thread()
            return


def batches(seed: int, start: int, stop: int, shares: Shares) -> Generator[Batch, None, None]:
    """Batches `start` to `stop`, drawn ahead by one background process."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue(maxsize=6)
    worker = context.Process(target=_draw_forever, args=(queue, seed, start, stop, shares), daemon=True)
    worker.start()
    try:
        for _ in range(start, stop):
            yield queue.get(timeout=600)
    finally:
        worker.terminate()
        worker.join()
