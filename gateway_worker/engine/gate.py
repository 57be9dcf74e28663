"""Keeps reads and writes of neonize's unlocked maps apart.

Every exported function of neonize looks its client up in plain Go maps, which starting and stopping a client write
(trap 2, docs/neonize-traps.md). A read that meets a write is a Go ``fatal error``: nothing recovers it, the process
dies. What can be done from outside: a call reads the maps in its first microseconds, so a writer lets no new call in,
waits until the calls that are in have passed that moment, and writes. A call that waits for WhatsApp's answer for a
minute does not hold a writer up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SETTLE: Final = 0.010
"""Seconds after which a call has certainly read the maps: some thousand times what it takes on an idle machine."""


class MapsGate:
    """A gate that calls pass quickly and starts and stops close. Blocks: not for the event loop's thread."""

    def __init__(self, settle: float = SETTLE) -> None:
        self._settle = settle
        self._condition = threading.Condition()
        self._closed = False
        self._entered: dict[int, float] = {}
        self._next = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make a call within this context; entering waits while the maps are written."""
        with self._condition:
            self._condition.wait_for(self._is_open)
            token = self._next
            self._next += 1
            self._entered[token] = time.monotonic()
        try:
            yield
        finally:
            with self._condition:
                del self._entered[token]
                self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Start or stop a client within this context; one at a time."""
        self.close()
        try:
            yield
        finally:
            self.open()

    def close(self) -> None:
        """Let no call in and wait until those that are in have read the maps."""
        with self._condition:
            self._condition.wait_for(self._is_open)
            self._closed = True
            while (youngest := max(self._entered.values(), default=0.0) + self._settle - time.monotonic()) > 0:
                self._condition.wait(youngest)

    def open(self) -> None:
        """Let calls in again."""
        with self._condition:
            self._closed = False
            self._condition.notify_all()

    def _is_open(self) -> bool:
        return not self._closed
