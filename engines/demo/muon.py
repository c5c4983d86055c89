"""Muon: momentum whose update matrix is orthogonalised by Newton-Schulz steps, for the hidden matrices.

Same-shaped matrices are stacked and treated together. Does not know models; embeddings, heads, norms and
other vectors belong to AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly orthogonal matrices with the row and column spaces of `matrices` (batch, rows, columns)."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; parameters of two dimensions, or three (a batch of matrices)."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state: dict[str, Any] = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                buffer: Tensor = state["momentum"]
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"])
                by_shape.setdefault(tuple(parameter.shape[-2:]), []).append((parameter, update))
            for shape, pairs in by_shape.items():
                stacked = torch.cat([update.reshape(-1, *shape) for _, update in pairs])
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                parts = torch.split(
                    orthogonalised(stacked), [p.numel() // (shape[0] * shape[1]) for p, _ in pairs]
                )
                for (parameter, _), part in zip(pairs, parts, strict=True):
                    parameter.mul_(1 - group["lr"] * group["decay"])
                    parameter.add_(part.reshape(parameter.shape), alpha=-group["lr"] * scale)
