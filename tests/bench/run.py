"""What one run of sends measured, whoever sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from tests.bench.figures import percentile

TEXT: Final = "hello " * 4
"""What every message says."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run.

    Attributes:
        sends: Messages sent.
        seconds: From the first send to the last acknowledgement.
        p50_ms: Time within which half of the sends were acknowledged.
        p99_ms: The same for 99 %.
    """

    sends: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, latencies_ms: Sequence[float], seconds: float) -> Self:
        """Sum up.

        Args:
            latencies_ms: Of each send, from the call to its answer.
            seconds: From the first send to the last acknowledgement.
        """
        return cls(len(latencies_ms), seconds, percentile(latencies_ms, 0.5), percentile(latencies_ms, 0.99))

    @property
    def sends_per_s(self) -> float:
        """Messages per second."""
        return self.sends / self.seconds
