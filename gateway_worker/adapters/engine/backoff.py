"""Growing waits between attempts."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from ``first`` to ``ceiling`` seconds, each shortened at random by up to half.

    The jitter keeps things that failed together from coming back together.
    """

    def __init__(self, first: float, ceiling: float) -> None:
        self._first = first
        self._ceiling = ceiling
        self._failures = 0

    def next(self) -> float:
        """Count a failure and return how many seconds to wait."""
        longest = min(self._ceiling, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return longest * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start from the first wait again."""
        self._failures = 0
