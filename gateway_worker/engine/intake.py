"""Where callbacks put what they took from the client library: the spool, or a short queue for what is of no use later.

Its first half runs on Go's threads and must neither raise nor wait for Python's event loop; its second half runs on the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway_worker.engine.spool.format import Record
from gateway_worker.engine.spool.writer import SpoolWriter

logger = logging.getLogger(__name__)

QUEUE_LENGTH: Final = 512
"""Ephemeral events that wait for the worker; the oldest give way."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0


class Wakeup:
    """Wakes the event loop from any thread; many calls before it wakes are one.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()
        self._pending = False

    def __call__(self) -> None:
        """Wake the loop; never blocks."""
        if self._pending:
            return
        self._pending = True  # a race of two threads wakes the loop twice, which does no harm
        try:
            self._loop.call_soon_threadsafe(self._fire)
        except RuntimeError:  # the loop is closed: the engine is on its way out, and the spool has the event
            logger.debug("an event came after the loop was closed")

    async def wait(self, at_most: float) -> None:
        """Return when woken since the last return, or after ``at_most`` seconds."""
        try:
            async with asyncio.timeout(at_most):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()

    def _fire(self) -> None:
        self._pending = False
        self._event.set()


class Intake:
    """Takes events.

    Args:
        writer: The spool.
        wake: Called when there is something ephemeral; the spool's writer does so itself.
    """

    def __init__(self, writer: SpoolWriter, wake: Callable[[], None]) -> None:
        self._writer = writer
        self._wake = wake
        self._ephemeral: deque[Record] = deque(maxlen=QUEUE_LENGTH)
        self._given_up = threading.Event()
        self.lost = 0
        """Events that could not be spooled before the engine had to end."""

    def spool(self, handle: str, code: int, payload: bytes, on_trouble: Callable[[], None]) -> None:
        """Put an event into the spool and return when it is there. Blocks while the disk takes nothing.

        That is meant: the caller is the thread that takes events out of Go's channel, so no further event of this
        client is taken, and none is dropped.

        Args:
            handle: The session.
            code: Kind of the event.
            payload: Its message.
            on_trouble: Called once when the first attempt fails. Must be quick.
        """
        record = Record(handle, time.time_ns(), code, payload)
        pause = _FIRST_PAUSE
        while not self._try(record):
            if pause == _FIRST_PAUSE:
                on_trouble()
            if self._given_up.wait(pause):
                self.lost += 1
                return
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def spool_own(self, handle: str, code: int, payload: bytes) -> None:
        """Put an event of the engine's own into the spool, from the event loop; waits while the disk takes nothing."""
        record = Record(handle, time.time_ns(), code, payload)
        while not self._try(record):
            if self._given_up.is_set():
                self.lost += 1
                return
            await asyncio.sleep(_LONGEST_PAUSE)

    def offer(self, handle: str, code: int, payload: bytes) -> None:
        """Queue an ephemeral event; the oldest one gives way when the worker does not take them."""
        self._ephemeral.append(Record(handle, time.time_ns(), code, payload))
        self._wake()

    def withdraw(self, handle: str) -> None:
        """Drop the ephemeral events of a client that is gone: its QR code would be taken for that of the next one."""
        kept = [record for record in self.take_ephemeral() if record.handle != handle]
        self._ephemeral.extend(kept)

    def take_ephemeral(self) -> list[Record]:
        """Empty the queue."""
        taken = []
        while self._ephemeral:
            taken.append(self._ephemeral.popleft())
        return taken

    def give_up(self) -> None:
        """Let those who wait for the disk go: the engine ends now, and :attr:`lost` counts what it takes with it."""
        self._given_up.set()

    def _try(self, record: Record) -> bool:
        try:
            self._writer.append(record)
        except OSError as error:
            logger.error("the spool cannot be written: %s", error.strerror)  # noqa: TRY400 - the reason says it all
            return False
        return True
