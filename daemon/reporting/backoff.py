"""How long to wait before the next try. Pure: randomness comes in as a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first_s` to `longest_s`, each spread over its upper half.

    The spread keeps a hall full of boxes from knocking at a returning broker in the same second.
    """

    first_s: float = 0.5
    longest_s: float = 30.0

    def delay(self, failures: int, spread: float) -> float:
        """Seconds to wait after `failures` failures in a row (at least 1); `spread` is from 0 to 1."""
        # Doublings are capped before the power is taken: a week without a broker must not overflow.
        whole = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + 0.5 * spread)
