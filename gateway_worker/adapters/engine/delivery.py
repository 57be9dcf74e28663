"""Events of one engine on their way to the listener: in order, exactly once, never faster than they are taken."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gateway_worker.adapters.engine.backoff import Backoff
from gateway_worker.adapters.engine.faults import log_fault
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.engines import EngineGoneError, EngineListener
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_QUEUE_LIMIT = 4096  # events that wait here before the stream is read no further; the engine's spool holds the rest
_BATCH_LIMIT = 512  # events given to the listener at a time: what came meanwhile shares one transaction
_ACKNOWLEDGEMENT_INTERVAL = (
    0.05  # s between two acknowledgements: one costs as much as an event, and nobody waits for it
)


class EventDelivery:
    """The way of an engine's spooled events to the listener.

    Args:
        listener: Who takes them.
        acknowledge: Tells the engine how far a spool is committed.
        observe: Sees every event once, before the listener does.
        backoff: Waits before events that were not taken are given again.
    """

    def __init__(
        self,
        listener: EngineListener,
        acknowledge: Callable[[str, int], Awaitable[None]],
        observe: Callable[[Sequence[engine_pb2.EngineEvent]], None],
        backoff: Backoff,
    ) -> None:
        self._listener = listener
        self._acknowledge = acknowledge
        self._observe = observe
        self._backoff = backoff
        self._queue: deque[tuple[str, list[engine_pb2.EngineEvent]]] = deque()
        self._queued = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._ending = asyncio.Event()
        self._positions: dict[str, int] = {}
        self._unacknowledged: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None  # runs while it is too early for another acknowledgement
        self._waiters: list[tuple[str, int, asyncio.Future[None]]] = []

    def begin(self, spool_id: str, after: int) -> None:
        """Expect events of a spool, the first one at the position that follows ``after``."""
        self._positions[spool_id] = after

    async def put(self, spool_id: str, events: list[engine_pb2.EngineEvent]) -> None:
        """Queue spooled events; returns when there is room for more."""
        self._queue.append((spool_id, events))
        self._queued += len(events)
        self._filled.set()
        while self._queued > _QUEUE_LIMIT and not self._ending.is_set():
            self._room.clear()
            await self._room.wait()

    async def committed(self, spool_id: str, position: int) -> None:
        """Wait until the listener has taken a spool up to and with ``position``.

        Raises:
            EngineGoneError: The engine is gone; what is left is in its spool.
        """
        if self._positions.get(spool_id, 0) >= position:
            return
        if self._ending.is_set():
            raise EngineGoneError("the engine died before all its events were taken")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((spool_id, position, future))
        await future

    def end(self) -> None:
        """Deliver no more: ``run`` returns after the call to the listener that is under way."""
        self._ending.set()
        self._filled.set()
        self._room.set()

    async def run(self) -> None:
        """Deliver until :meth:`end`."""
        try:
            while not self._ending.is_set():
                if self._unacknowledged and self._timer is None:
                    await self._acknowledge_all()
                if not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                    continue
                spool_id, events = self._next()
                if events:
                    self._observe(events)
                    await self._deliver(spool_id, events)
        finally:
            self.end()
            if self._timer is not None:
                self._timer.cancel()
            for _, _, future in self._waiters:
                if not future.done():
                    future.set_exception(EngineGoneError("the engine died before all its events were taken"))
            self._waiters.clear()

    def _next(self) -> tuple[str, list[engine_pb2.EngineEvent]]:
        """Take what is queued of one spool, without what was taken before."""
        spool_id = self._queue[0][0]
        taken = self._positions.get(spool_id, 0)
        last, fresh = taken, list[engine_pb2.EngineEvent]()
        while self._queue and self._queue[0][0] == spool_id and len(fresh) < _BATCH_LIMIT:
            _, events = self._queue.popleft()
            self._queued -= len(events)
            if events[0].position <= last:
                events = [event for event in events if event.position > last]
            if events:
                fresh += events
                last = events[-1].position
        self._room.set()
        if last - taken != len(fresh):
            logger.error("spool %s: positions are not without gaps after %d", spool_id, taken)
        return spool_id, fresh

    async def _deliver(self, spool_id: str, events: list[engine_pb2.EngineEvent]) -> None:
        """Give events to the listener until it took them all."""
        size = len(events)
        while events and not self._ending.is_set():
            batch = events[:size]
            try:
                await self._listener.on_events(spool_id, batch)
            except StoreUnavailableError:
                logger.warning("spool %s: the store does not take events; they wait in the spool", spool_id)
                await self._pause()
            except Exception as error:  # noqa: BLE001 - a fault in the listener must lose no event, so it is tried again
                # One by one from here: events before the one at fault get through, and the log names that one.
                size = 1
                where = f"position {batch[0].position} ({batch[0].WhichOneof('kind')})"
                log_fault(f"spool {spool_id}: {len(batch)} events from {where} were not taken", error)
                await self._pause()
            else:
                self._backoff.reset()
                events = events[size:]
                self._commit(spool_id, batch[-1].position)

    def _commit(self, spool_id: str, position: int) -> None:
        self._positions[spool_id] = position
        if self._waiters:
            waiting = []
            for spool, wanted, future in self._waiters:
                if self._positions.get(spool, 0) < wanted:
                    waiting.append((spool, wanted, future))
                elif not future.done():
                    future.set_result(None)
            self._waiters = waiting
        self._unacknowledged.add(spool_id)

    async def _acknowledge_all(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_ACKNOWLEDGEMENT_INTERVAL, self._next_acknowledgement)
        for spool_id in sorted(self._unacknowledged):
            await self._acknowledge(spool_id, self._positions[spool_id])
        self._unacknowledged.clear()

    def _next_acknowledgement(self) -> None:
        self._timer = None
        self._filled.set()

    async def _pause(self) -> None:
        """Wait before the next attempt, but not beyond the end."""
        try:
            async with asyncio.timeout(self._backoff.next()):
                await self._ending.wait()
        except TimeoutError:
            return
