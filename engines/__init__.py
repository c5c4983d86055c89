"""Engines: from a Qwen3.5 checkpoint to an answer. Knows tokens and pixels, nothing of factories.

`Engine.open(bundle).answer(images, prompt, grammar)` is what the rest of the product uses;
`lineside.engines.base` has the values that go in and come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineside.engines.open import Engine

__all__ = ["Engine"]


def __getattr__(name: str) -> Any:
    # On first use: values and errors must be importable without a runtime.
    if name == "Engine":
        from lineside.engines.open import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
