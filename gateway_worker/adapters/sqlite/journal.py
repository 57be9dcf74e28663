"""The journal and its readers' side."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import apsw

from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.operations import apply
from gateway_worker.adapters.sqlite.transaction import JournalTransaction
from gateway_worker.domain.ids import Position, SessionId, SessionKey, TenantId
from gateway_worker.domain.sends import EARLY_RECEIPT_PERIOD, IDEMPOTENCY_PERIOD
from gateway_worker.ports.ephemera import Clock
from gateway_worker.ports.journal import Operation
from gateway_worker.ports.records import EventDraft, EventFilter, EventPage, JournalBounds, StoredEvent

Listener = Callable[[Sequence[StoredEvent]], None]

SCAN_SPAN: Final = 10_000
"""Positions that one read looks through at most: a filter that accepts little takes more pages, not a longer one."""

PRUNE_BATCH: Final = 500
"""Rows dropped in one transaction, so that commits wait some milliseconds at most while a large journal is pruned."""

_ACKNOWLEDGE: Final = """
INSERT INTO consumer (tenant, consumer, position) VALUES (?, ?, ?)
ON CONFLICT (tenant, consumer) DO UPDATE SET position = max(position, excluded.position)
RETURNING position
"""


class SqliteJournal:
    """Journal and event log in the gateway's database.

    Positions are without a gap and become visible in their order, because one thread writes; see
    :class:`gateway_worker.adapters.sqlite.writer.GroupWriter`.

    Args:
        database: Entered by the caller.
        clock: Tells the age of events, idempotency keys and early receipts.
    """

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._listeners: list[Listener] = []

    # Journal

    async def commit(self, operations: Sequence[Operation]) -> list[StoredEvent]:
        """See :meth:`gateway_worker.ports.journal.Journal.commit`."""
        return await self._database.write(partial(_commit, operations, self._clock.time()), self._publish)

    def subscribe(self, listener: Listener) -> None:
        """See :meth:`gateway_worker.ports.journal.Journal.subscribe`."""
        self._listeners.append(listener)

    def _publish(self, events: list[StoredEvent]) -> None:
        if events:
            for listener in self._listeners:
                listener(events)

    # EventLog

    async def read(self, after: Position, where: EventFilter, limit: int) -> EventPage:
        """See :meth:`gateway_worker.ports.journal.EventLog.read`; looks at :data:`SCAN_SPAN` positions at most."""
        return await self._database.read(partial(_page, after, where, limit))

    async def bounds(self) -> JournalBounds:
        """See :meth:`gateway_worker.ports.journal.EventLog.bounds`."""
        return await self._database.read(_bounds)

    async def consumer_position(self, tenant: TenantId, consumer: str) -> Position | None:
        """See :meth:`gateway_worker.ports.journal.EventLog.consumer_position`."""
        query = "SELECT position FROM consumer WHERE tenant = ? AND consumer = ?"
        position = await self._database.read(partial(_value, query, (tenant, consumer)))
        return None if position is None else Position(position)

    async def acknowledge(self, tenant: TenantId, consumer: str, position: Position) -> Position:
        """See :meth:`gateway_worker.ports.journal.EventLog.acknowledge`."""
        stored = await self._database.write(partial(_value, _ACKNOWLEDGE, (tenant, consumer, position)))
        return position if stored is None else Position(stored)

    async def spool_position(self, spool_id: str) -> int:
        """See :meth:`gateway_worker.ports.journal.EventLog.spool_position`."""
        position = await self._database.read(
            partial(_value, "SELECT position FROM spool WHERE spool_id = ?", (spool_id,))
        )
        return position or 0

    async def forget_spool(self, spool_id: str) -> None:
        """See :meth:`gateway_worker.ports.journal.EventLog.forget_spool`."""
        await self._database.write(partial(_value, "DELETE FROM spool WHERE spool_id = ?", (spool_id,)))

    async def prune(self, older_than: float) -> int:
        """See :meth:`gateway_worker.ports.journal.EventLog.prune`.

        The age of an event counts from when it entered the journal: a message that waited in WhatsApp's offline queue
        for weeks is as new to its readers as any other. Only the journal's beginning is dropped, never from its middle.
        """
        dropped = 0
        while count := await self._database.write(partial(_prune_events, older_than)):
            dropped += count
        now = self._clock.time()
        for prune_batch, until in (
            (_prune_messages, older_than),
            (_prune_sends, now - IDEMPOTENCY_PERIOD),
            (_prune_early_receipts, now - EARLY_RECEIPT_PERIOD),
        ):
            while await self._database.write(partial(prune_batch, until)):
                pass
        return dropped


def _commit(operations: Sequence[Operation], now: float, connection: apsw.Connection) -> list[StoredEvent]:
    transaction = JournalTransaction(connection, now)
    apply(transaction, operations)
    return transaction.appended


def _value(query: str, bindings: tuple[str | int, ...], connection: apsw.Connection) -> int | None:
    """The single integer that the query returns, None when it returns no row."""
    value: int | None = connection.execute(query, bindings).get
    return value


def _bounds(connection: apsw.Connection) -> JournalBounds:
    oldest, head = connection.execute("SELECT oldest, position FROM journal_head").get
    return JournalBounds(Position(oldest), Position(head))


def _page(after: Position, where: EventFilter, limit: int, connection: apsw.Connection) -> EventPage:
    head = _bounds(connection).head
    through = Position(min(head, after + SCAN_SPAN))
    query, bindings = page_query(after, through, where, limit)
    keys: dict[str, SessionKey] = {}
    events = []
    for position, session, sequence, kind, time, payload in connection.execute(query, bindings):
        key = keys.get(session)
        if key is None:
            key = keys[session] = SessionKey(TenantId(where.tenant), SessionId(session))
        events.append(StoredEvent(Position(position), sequence, EventDraft(key, kind, time, payload)))
    if len(events) == limit:
        through = events[-1].position
    return EventPage(events, max(after, through))


def page_query(after: Position, through: Position, where: EventFilter, limit: int) -> tuple[str, tuple[str | int, ...]]:
    """The query for one page, and its bindings.

    The unary plus keeps a condition from choosing an index: a range of positions is read in its order and ends soon,
    while an index on the tenant would make SQLite collect and sort all its events first. One session alone is read
    through its index, which holds its positions in order.
    """
    conditions = ["position > ?", "position <= ?"]
    bindings: list[str | int] = [after, through]
    if where.sessions is not None and len(where.sessions) == 1:
        conditions += ["tenant = ?", "session = ?"]
        bindings += [where.tenant, *where.sessions]
    else:
        conditions.append("+tenant = ?")
        bindings.append(where.tenant)
        if where.sessions is not None:
            conditions.append("+session IN (SELECT value FROM json_each(?))")
            bindings.append(json.dumps(sorted(where.sessions)))
    if where.kinds is not None:
        conditions.append("+kind IN (SELECT value FROM json_each(?))")
        bindings.append(json.dumps(sorted(where.kinds)))
    bindings.append(limit)
    query = (
        "SELECT position, session, sequence, kind, time, payload FROM event "  # noqa: S608 - the texts above
        f"WHERE {' AND '.join(conditions)} ORDER BY position LIMIT ?"
    )
    return query, tuple(bindings)


def _prune_events(older_than: float, connection: apsw.Connection) -> int:
    """Drop up to a batch of events from the beginning; return how many."""
    last = 0
    for position, recorded_at in connection.execute(
        "SELECT position, recorded_at FROM event ORDER BY position LIMIT ?", (PRUNE_BATCH,)
    ):
        if recorded_at >= older_than:
            break
        last = position
    if last == 0:
        return 0
    connection.execute("DELETE FROM event WHERE position <= ?", (last,))
    dropped = connection.changes()
    connection.execute("UPDATE journal_head SET oldest = ?", (last,))
    return dropped


def _prune_messages(sent_before: float, connection: apsw.Connection) -> int:
    """Drop what is too old of the first batch of messages; they were inserted about in the order of their age."""
    connection.execute(
        """
        DELETE FROM message WHERE row IN (
            SELECT row FROM (SELECT row, time FROM message ORDER BY row LIMIT ?) WHERE time < ?
        )
        """,
        (PRUNE_BATCH, sent_before),
    )
    return connection.changes()


def _prune_sends(handed_until: float, connection: apsw.Connection) -> int:
    """Drop what is too old of the first batch of sends; they were inserted in the order of their age."""
    connection.execute(
        """
        DELETE FROM send WHERE row IN (
            SELECT row FROM (SELECT row, handed_at FROM send ORDER BY row LIMIT ?) WHERE handed_at <= ?
        )
        """,
        (PRUNE_BATCH, handed_until),
    )
    return connection.changes()


def _prune_early_receipts(kept_until: float, connection: apsw.Connection) -> int:
    connection.execute(
        """
        DELETE FROM early_receipt WHERE (tenant, session, message_id, status) IN (
            SELECT tenant, session, message_id, status FROM early_receipt WHERE kept_at <= ? LIMIT ?
        )
        """,
        (kept_until, PRUNE_BATCH),
    )
    return connection.changes()
