"""The database: a writer with group commit and a reader beside it, for the time of a context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import apsw

from gateway_worker.adapters.sqlite.errors import OUTAGES, unavailable
from gateway_worker.adapters.sqlite.schema import open_reader, open_writer
from gateway_worker.adapters.sqlite.writer import GroupWriter
from gateway_worker.domain.errors import StoreUnavailableError

T = TypeVar("T")


class SqliteDatabase:
    """The gateway's SQLite file in WAL mode, open between ``async with`` and its end.

    Nothing blocks the event loop: opening, writing and reading happen on other threads, and a read never waits for a
    write nor a write for a read.

    Args:
        path: The file; created, readable by its owner only, when there is none. Its directory must exist.

    Raises:
        DatabaseUnusableError: On entering; see :mod:`gateway_worker.adapters.sqlite.errors`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: GroupWriter | None = None
        self._reader: apsw.Connection | None = None
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite-reader")
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            connection = await asyncio.to_thread(open_writer, self.path)
            # Closed last: the last connection to close moves the write-ahead log into the database.
            opened.push_async_callback(asyncio.to_thread, connection.close)
            self._reader = await asyncio.to_thread(open_reader, self.path)
            opened.push_async_callback(asyncio.to_thread, self._reader.close)
            opened.push_async_callback(asyncio.to_thread, self._reading.shutdown)
            self._writer = GroupWriter(connection, str(self.path))
            opened.push_async_callback(self._writer.close)
            self._closing = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer = None
        await self._closing.aclose()

    async def write(self, work: Callable[[apsw.Connection], T], applied: Callable[[T], None] | None = None) -> T:
        """Do ``work`` in a transaction and return its result once it is on disk.

        Args:
            work: Runs on the writer's thread, possibly more than once (only the last run is kept), in the order of the
                calls. What it raises takes back its changes and is raised here.
            applied: Called with the result on the event loop, in the order of commits, before this call returns and
                also when this call was cancelled meanwhile.

        Raises:
            StoreUnavailableError: The database cannot be written now. Nothing was applied.
        """
        if self._writer is None:
            raise StoreUnavailableError
        return await self._writer.submit(work, applied)

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do ``work`` on the reader's thread, with one unchanging view of what is committed, and return its result.

        Raises:
            StoreUnavailableError: The database cannot be read now.
        """
        if self._writer is None:
            raise StoreUnavailableError
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        assert self._reader is not None  # noqa: S101 - opened before the first read can be queued
        try:
            self._reader.execute("BEGIN")
            return work(self._reader)
        except OUTAGES as error:
            raise unavailable() from error
        finally:
            if self._reader.in_transaction:
                self._reader.execute("ROLLBACK")
