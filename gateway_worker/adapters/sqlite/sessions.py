"""The cards."""

from __future__ import annotations

from typing import Final

import apsw

from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.rows import SESSION_COLUMNS, session_record
from gateway_worker.ports.records import SessionRecord

_ALL: Final = f"SELECT {SESSION_COLUMNS} FROM session ORDER BY tenant, session"  # noqa: S608 - own list of columns


class SqliteSessionStore:
    """Reads of the cards in the gateway's database.

    Args:
        database: Entered by the caller.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def sessions(self) -> list[SessionRecord]:
        """See :meth:`gateway_worker.ports.journal.SessionStore.sessions`."""
        return await self._database.read(_all)


def _all(connection: apsw.Connection) -> list[SessionRecord]:
    return [session_record(row) for row in connection.execute(_ALL)]
