"""Delivers events to the worker: the engine's own spool, spools of dead engines, and what is of no use later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from gateway_worker.engine.convert.events import convert
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.failures import CommandFailedError
from gateway_worker.engine.importing import ImportedSpool
from gateway_worker.engine.intake import Intake, Wakeup
from gateway_worker.engine.spool.format import Record
from gateway_worker.engine.spool.reader import SpoolReader
from gateway_worker.engine.spool.writer import SpoolInUseError, SpoolWriter
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

MAX_EVENTS: Final = 256
"""Most spooled events in a response."""

MAX_BYTES: Final = 512 * 1024
"""Payload bytes after which a response takes no further event."""

_IDLE: Final = 1.0
_INTERVAL: Final = 0.002
"""Least seconds between two rounds while events come: a response costs as much as the conversion of ten events. The
first event after a silence goes out at once."""


class Pump:
    """Reads the spool and sends it on, one stream at a time.

    Args:
        spool_id: Id of the engine's own spool.
        folder: Folder of the spool.
        writer: Its writer.
        intake: Holds the ephemeral events.
        wakeup: Fires when there is something new.
        book: Addresses of users.
        find_addresses: Looks LIDs up for a session; true when it found something.
    """

    def __init__(
        self,
        spool_id: str,
        folder: Path,
        *,
        writer: SpoolWriter,
        intake: Intake,
        wakeup: Wakeup,
        book: AddressBook,
        find_addresses: Callable[[str, Iterable[str]], Awaitable[bool]],
    ) -> None:
        self.spool_id = spool_id
        self._writer = writer
        self._intake = intake
        self._wakeup = wakeup
        self._book = book
        self._find_addresses = find_addresses
        self._reader = SpoolReader(folder)
        self._acknowledged = 0
        self._imports: dict[str, ImportedSpool] = {}
        self._health: engine_pb2.EngineHealth | None = None
        self._generation = 0

    @property
    def backlog_bytes(self) -> int:
        """Bytes in the spool that are not acknowledged."""
        return self._writer.bytes_after(self._acknowledged)

    @property
    def is_drained(self) -> bool:
        """Whether the worker has everything that is in the spool."""
        return self._acknowledged >= self._writer.last_position

    def offer_health(self, health: engine_pb2.EngineHealth) -> None:
        """Have a report sent; the newest counts."""
        self._health = health
        self._wakeup()

    def acknowledge(self, spool_id: str, position: int) -> None:
        """Forget the events of a spool up to and with this position."""
        if spool_id == self.spool_id:
            self._acknowledged = max(self._acknowledged, position)
            self._writer.discard(self._acknowledged)
        elif spool_id in self._imports:
            imported = self._imports[spool_id]
            imported.acknowledge(position)
            if imported.is_done:
                del self._imports[spool_id]
        else:
            logger.debug("an acknowledgement for a spool that is not here")

    async def import_spool(self, spool_id: str, folder: Path, after: int) -> int:
        """Deliver what a dead engine left in its spool; returns its last position once all was given to the worker.

        Raises:
            CommandFailedError: INTERNAL: its engine lives, or it cannot be read.
        """
        if spool_id == self.spool_id:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, "this is the engine's own spool")
        imported = self._imports.get(spool_id)
        if imported is None:
            try:
                imported = ImportedSpool(spool_id, folder, after)
            except (SpoolInUseError, OSError) as error:
                raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, str(error)) from error
            self._imports[spool_id] = imported
        self._wakeup()
        return await asyncio.shield(imported.sent)

    async def stream(self, after: int) -> AsyncIterator[engine_pb2.EventsResponse]:
        """Send everything after a position of the own spool, then what comes. Ends when a newer stream begins.

        Args:
            after: Position up to which the worker has the own spool.
        """
        self._generation += 1
        generation = self._generation
        self._writer.continue_after(after)
        self.acknowledge(self.spool_id, after)
        self._reader.rewind(after)
        for imported in self._imports.values():
            imported.rewind()
        loop = asyncio.get_running_loop()
        while generation == self._generation:
            idle = True
            begun = loop.time()
            for response in (await self._next_own(), *[await self._next_import(one) for one in self._pending()]):
                if response is not None:
                    idle = False
                    yield response
            if self._health is not None:
                health, self._health = self._health, None
                yield engine_pb2.EventsResponse(health=health)
            if idle:
                await self._wakeup.wait(_IDLE)
            elif (pause := begun + _INTERVAL - loop.time()) > 0:
                await asyncio.sleep(pause)

    def _pending(self) -> list[ImportedSpool]:
        return [imported for imported in self._imports.values() if not imported.sent.done()]

    async def _next_own(self) -> engine_pb2.EventsResponse | None:
        # Never more than there is: looking behind the last record costs two system calls to find nothing.
        waiting = self._writer.last_position - self._reader.position
        spooled = self._reader.read(min(waiting, MAX_EVENTS), MAX_BYTES)
        ephemeral = [(0, record) for record in self._intake.take_ephemeral()]
        return await self._batch(self.spool_id if spooled else "", [*ephemeral, *spooled])

    async def _next_import(self, imported: ImportedSpool) -> engine_pb2.EventsResponse | None:
        batch = await self._batch(imported.spool_id, imported.read(MAX_EVENTS, MAX_BYTES))
        if batch is None:
            imported.note_sent()
            if imported.is_done:
                del self._imports[imported.spool_id]
        return batch

    async def _batch(self, spool_id: str, records: list[tuple[int, Record]]) -> engine_pb2.EventsResponse | None:
        if not records:
            return None
        batch = engine_pb2.EventsResponse(spool_id=spool_id)
        for position, record in records:
            event = batch.events.add()
            convert(event, position, record, self._book)
            missed = self._book.missed()
            if missed and await self._find(record.handle, missed):
                convert(event, position, record, self._book)
                self._book.missed()
        return batch

    async def _find(self, handle: str, lids: set[str]) -> bool:
        try:
            return await self._find_addresses(handle, lids)
        except Exception:  # an address more is not worth an event less
            logger.exception("addresses could not be looked up")
            return False
