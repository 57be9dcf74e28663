"""How long things wait: reconnects, typing, and what a queue is expected to take."""

from __future__ import annotations

import random

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0

_TYPING_BASE = 0.6
_TYPING_PER_CHARACTER = 0.06  # a fast typist's 200 characters a minute would be 0.3; nobody waits that long for a reply
_LONGEST_TYPING = 12.0


def reconnect_delay(attempt: int) -> float:
    """Seconds before reconnect number ``attempt`` (0 is the first, at once): exponential with full jitter, ≤60 s."""
    if attempt <= 0:
        return 0.0
    ceiling = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(attempt - 1, 10))
    return random.uniform(ceiling / 2, ceiling)


def typing_time(characters: int) -> float:
    """Seconds a person seems to type a text of this length: growing with it, with jitter, at most 12 s."""
    mean = _TYPING_BASE + _TYPING_PER_CHARACTER * characters
    return min(_LONGEST_TYPING, mean * random.uniform(0.8, 1.2))


class Pace:
    """Running estimate of how long one send of a session takes, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.05

    def observe(self, seconds: float) -> None:
        """Take one more send into account; the newest ten or so count."""
        self.seconds += (seconds - self.seconds) * 0.1
