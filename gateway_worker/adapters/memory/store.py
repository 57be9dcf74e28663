"""The journal and all its readers in memory: for tests of the core, and the model that databases are held against."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

from gateway_worker.adapters.memory.state import JournalState
from gateway_worker.domain.ids import Position, SessionKey, TenantId
from gateway_worker.domain.sends import IDEMPOTENCY_PERIOD
from gateway_worker.ports.ephemera import Clock
from gateway_worker.ports.journal import Operation
from gateway_worker.ports.records import EventFilter, EventPage, JournalBounds, SendRecord, SessionRecord, StoredEvent

Listener = Callable[[Sequence[StoredEvent]], None]

logger = logging.getLogger(__name__)


class MemoryStore:
    """Journal, event log, session store and outbox over one state, gone with the process.

    A commit works on a copy of the state and replaces it at the end: all or nothing, at a cost that grows with what is
    stored. None of the calls waits for anything.

    Args:
        clock: Tells the age of events, idempotency keys and early receipts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state = JournalState()
        self._listeners: list[Listener] = []

    # Journal

    async def commit(self, operations: Sequence[Operation]) -> list[StoredEvent]:
        """See :meth:`gateway_worker.ports.journal.Journal.commit`."""
        state = self._state.copy()
        appended = state.apply(operations, self._clock.time())
        self._state = state
        for listener in self._listeners if appended else ():
            try:
                listener(appended)
            except Exception:
                logger.exception("a listener failed; the commit stands")
        return appended

    def subscribe(self, listener: Listener) -> None:
        """See :meth:`gateway_worker.ports.journal.Journal.subscribe`."""
        self._listeners.append(listener)

    # EventLog

    async def read(self, after: Position, where: EventFilter, limit: int) -> EventPage:
        """See :meth:`gateway_worker.ports.journal.EventLog.read`."""
        stored = (entry.event for entry in self._state.events if entry.event.position > after)
        events = list(itertools.islice((event for event in stored if where.accepts(event.draft)), limit))
        through = events[-1].position if len(events) == limit else self._state.head
        return EventPage(events, max(after, through))

    async def bounds(self) -> JournalBounds:
        """See :meth:`gateway_worker.ports.journal.EventLog.bounds`."""
        return JournalBounds(self._state.oldest, self._state.head)

    async def consumer_position(self, tenant: TenantId, consumer: str) -> Position | None:
        """See :meth:`gateway_worker.ports.journal.EventLog.consumer_position`."""
        return self._state.consumers.get((tenant, consumer))

    async def acknowledge(self, tenant: TenantId, consumer: str, position: Position) -> Position:
        """See :meth:`gateway_worker.ports.journal.EventLog.acknowledge`."""
        name = (tenant, consumer)
        stored = self._state.consumers[name] = max(position, self._state.consumers.get(name, position))
        return stored

    async def spool_position(self, spool_id: str) -> int:
        """See :meth:`gateway_worker.ports.journal.EventLog.spool_position`."""
        return self._state.spools.get(spool_id, 0)

    async def forget_spool(self, spool_id: str) -> None:
        """See :meth:`gateway_worker.ports.journal.EventLog.forget_spool`."""
        self._state.spools.pop(spool_id, None)

    async def prune(self, older_than: float) -> int:
        """See :meth:`gateway_worker.ports.journal.EventLog.prune`; drops from the journal's beginning only."""
        state, now = self._state, self._clock.time()
        dropped = list(itertools.takewhile(lambda entry: entry.recorded_at < older_than, state.events))
        if dropped:
            state.events = state.events[len(dropped) :]
            state.oldest = dropped[-1].event.position
        state.messages = {name: time for name, time in state.messages.items() if time >= older_than}
        state.sends = {
            send_id: send for send_id, send in state.sends.items() if send.record.handed_at > now - IDEMPOTENCY_PERIOD
        }
        state.forget_early_receipts(now)
        return len(dropped)

    # SessionStore

    async def sessions(self) -> list[SessionRecord]:
        """See :meth:`gateway_worker.ports.journal.SessionStore.sessions`."""
        return [self._state.sessions[key] for key in sorted(self._state.sessions)]

    # Outbox

    async def find(self, key: SessionKey, idempotency_key: str) -> SendRecord | None:
        """See :meth:`gateway_worker.ports.journal.Outbox.find`."""
        holder = self._state.holder_of(key, idempotency_key)
        is_remembered = holder is not None and holder.handed_at > self._clock.time() - IDEMPOTENCY_PERIOD
        return holder if is_remembered else None

    async def unsettled(self) -> list[SendRecord]:
        """See :meth:`gateway_worker.ports.journal.Outbox.unsettled`."""
        open_sends = (
            send.record for send in self._state.sends.values() if send.record.acked_at is None and not send.fate_unknown
        )
        return sorted(open_sends, key=lambda record: record.handed_at)
