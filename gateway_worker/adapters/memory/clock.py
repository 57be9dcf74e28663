"""The system's clock."""

from __future__ import annotations

import time


class SystemClock:
    """Time as the operating system tells it."""

    def time(self) -> float:
        """Unix seconds."""
        return time.time()
