"""One commit of the journal while it is applied, on the writer's thread."""

from __future__ import annotations

from typing import Final

import apsw

from gateway_worker.domain.ids import Position
from gateway_worker.ports.records import EventDraft, StoredEvent

# The position comes from the one-row head and the sequence from the session's counter, read and (by a trigger) moved
# inside the transaction that inserts: there is no moment at which a number is taken and its event is not there.
_APPEND: Final = """
INSERT INTO event (position, tenant, session, sequence, kind, time, recorded_at, payload)
VALUES (
    (SELECT position FROM journal_head) + 1, ?1, ?2,
    ifnull((SELECT last FROM session_sequence WHERE tenant = ?1 AND session = ?2), 0) + 1, ?3, ?4, ?5, ?6
)
RETURNING position, sequence
"""


class JournalTransaction:
    """What operations work on.

    Attributes:
        connection: The writer's connection, inside a transaction.
        execute: Its ``execute``.
        now: Unix seconds of this commit.
        appended: Events appended so far, in order.
    """

    __slots__ = ("appended", "connection", "execute", "now")

    def __init__(self, connection: apsw.Connection, now: float) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.now = now
        self.appended: list[StoredEvent] = []

    def append(self, event: EventDraft) -> None:
        """Give the event its position and sequence and store it."""
        key = event.key
        bindings = (key.tenant, key.session, event.kind, event.time, self.now, event.payload)
        position, sequence = self.execute(_APPEND, bindings).get
        self.appended.append(StoredEvent(Position(position), sequence, event))

    def changed(self) -> bool:
        """Whether the statement before changed a row."""
        return self.connection.changes() > 0
