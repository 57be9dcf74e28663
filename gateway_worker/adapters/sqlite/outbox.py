"""The sends."""

from __future__ import annotations

from functools import partial
from typing import Final

import apsw

from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.rows import SEND_COLUMNS, Row, send_record
from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.sends import IDEMPOTENCY_PERIOD
from gateway_worker.ports.ephemera import Clock
from gateway_worker.ports.records import SendRecord

_FIND: Final = f"""
SELECT {SEND_COLUMNS} FROM send WHERE tenant = ? AND session = ? AND idempotency_key = ? AND handed_at > ?
"""  # noqa: S608 - the only part put in is this package's own list of columns
_UNSETTLED: Final = f"""
SELECT {SEND_COLUMNS} FROM send WHERE acked_at IS NULL AND fate_unknown = 0 ORDER BY handed_at, row
"""  # noqa: S608 - same


class SqliteOutbox:
    """Reads of the sends in the gateway's database.

    Args:
        database: Entered by the caller.
        clock: Tells the age of idempotency keys.
    """

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, key: SessionKey, idempotency_key: str) -> SendRecord | None:
        """See :meth:`gateway_worker.ports.journal.Outbox.find`."""
        oldest = self._clock.time() - IDEMPOTENCY_PERIOD
        rows = await self._database.read(partial(_rows, _FIND, (key.tenant, key.session, idempotency_key, oldest)))
        return send_record(rows[0]) if rows else None

    async def unsettled(self) -> list[SendRecord]:
        """See :meth:`gateway_worker.ports.journal.Outbox.unsettled`."""
        return [send_record(row) for row in await self._database.read(partial(_rows, _UNSETTLED, ()))]


def _rows(query: str, bindings: tuple[str | float, ...], connection: apsw.Connection) -> list[Row]:
    return connection.execute(query, bindings).fetchall()
