"""A database that cannot be written for a while: who is told, who is not, and that it passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.journal import SqliteJournal
from gateway_worker.domain.errors import SessionExistsError, StoreUnavailableError
from gateway_worker.domain.ids import ORIGIN
from gateway_worker.ports.journal import Append, CreateSession
from gateway_worker.ports.records import EventFilter, StoredEvent
from tests.support.limits import file_size_limit
from tests.support.stores import TENANT, ManualClock, card, draft, payloads

BIG = b"x" * 200_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """An open database."""
    async with SqliteDatabase(tmp_path / "gateway.db") as opened:
        yield opened


@pytest.fixture
def journal(database: SqliteDatabase) -> SqliteJournal:
    """Its journal."""
    return SqliteJournal(database, ManualClock())


async def leave_room(database: SqliteDatabase, pages: int) -> None:
    """Let the file grow by so many pages of 4 KiB and no more, as a disk does that is nearly full."""

    def limit(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", connection.pragma("page_count") + pages)

    await database.write(limit)


async def everything(journal: SqliteJournal) -> list[StoredEvent]:
    """All events, in one page."""
    return (await journal.read(ORIGIN, EventFilter(TENANT), 1000)).events


async def test_a_full_disk_fails_the_calls_that_do_not_fit_and_no_others(
    database: SqliteDatabase, journal: SqliteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    """Of calls that share a transaction each gets its own fate; room again, and what failed succeeds."""
    heard: list[StoredEvent] = []
    journal.subscribe(heard.extend)
    await journal.commit([CreateSession(card()), Append(draft(b"before"))])
    await leave_room(database, 5)
    results = await asyncio.gather(
        journal.commit([Append(draft(b"small 1"))]),
        journal.commit([Append(draft(BIG))]),
        journal.commit([CreateSession(card())]),
        journal.commit([Append(draft(BIG))]),
        journal.commit([Append(draft(b"small 2"))]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        list,
        StoreUnavailableError,
        SessionExistsError,
        StoreUnavailableError,
        list,
    ]
    assert isinstance(results[1], StoreUnavailableError)
    assert isinstance(results[1].__cause__, apsw.FullError)
    assert results[1].retry_after == 1.0
    assert payloads(await everything(journal)) == [b"before", b"small 1", b"small 2"]

    await leave_room(database, 10_000)
    await journal.commit([Append(draft(BIG))])
    assert payloads(heard) == [b"before", b"small 1", b"small 2", BIG]
    assert [event.position for event in heard] == [1, 2, 3, 4]
    assert [event.sequence for event in heard] == [1, 2, 3, 4]
    messages = [record.getMessage() for record in caplog.records if "commits" in record.getMessage()]
    assert ["fail" in messages[0], "succeed again" in messages[-1]] == [True, True]


async def test_a_disk_that_refuses_writes_loses_nothing(journal: SqliteJournal) -> None:
    """While the kernel refuses every write, commits fail and reads go on; afterwards commits succeed again."""
    await journal.commit([Append(draft(b"before"))])
    with file_size_limit(100):
        results = await asyncio.gather(
            *(journal.commit([Append(draft(b"refused"))]) for _ in range(20)), return_exceptions=True
        )
        assert payloads(await everything(journal)) == [b"before"]
    assert all(isinstance(result, StoreUnavailableError) for result in results)
    (event,) = await journal.commit([Append(draft(b"after"))])
    assert (event.position, event.sequence) == (2, 2)
    assert payloads(await everything(journal)) == [b"before", b"after"]


async def test_a_transaction_whose_end_does_not_fit(database: SqliteDatabase, journal: SqliteJournal) -> None:
    """When the log takes some commits of a group but not all, those that fit alone are kept, in their order."""
    await journal.commit([Append(draft(b"before"))])
    log = database.path.with_name("gateway.db-wal")
    with file_size_limit(log.stat().st_size + len(BIG) // 2):
        results = await asyncio.gather(
            journal.commit([Append(draft(b"small 1"))]),
            journal.commit([Append(draft(BIG))]),
            journal.commit([Append(draft(b"small 2"))]),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [list, StoreUnavailableError, list]
    stored = await everything(journal)
    assert payloads(stored) == [b"before", b"small 1", b"small 2"]
    assert [event.position for event in stored] == [1, 2, 3]


async def test_another_programs_lock(database: SqliteDatabase, journal: SqliteJournal) -> None:
    """A short lock delays commits; a long one fails all that wait, together, soon; reads never wait."""
    await journal.commit([Append(draft(b"before"))])
    with closing(apsw.Connection(str(database.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        delayed = asyncio.create_task(journal.commit([Append(draft(b"delayed"))]))
        await asyncio.sleep(0.2)
        assert payloads(await everything(journal)) == [b"before"]
        other.execute("COMMIT")
        assert payloads(await delayed) == [b"delayed"]

        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        results = await asyncio.gather(
            *(journal.commit([Append(draft(b"refused"))]) for _ in range(50)), return_exceptions=True
        )
        assert time.monotonic() - start < 10, "they do not wait one after the other"
        assert all(isinstance(result, StoreUnavailableError) for result in results)
        other.execute("COMMIT")
    await journal.commit([Append(draft(b"after"))])
    assert payloads(await everything(journal)) == [b"before", b"delayed", b"after"]


async def test_wrong_code_is_no_outage(database: SqliteDatabase, journal: SqliteJournal) -> None:
    """A mistake in a statement shows as what it is, and harms no neighbour."""
    wrong, right = await asyncio.gather(
        database.write(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")),
        journal.commit([Append(draft(b"right"))]),
        return_exceptions=True,
    )
    assert isinstance(wrong, apsw.SQLError)
    assert isinstance(right, list)
    assert payloads(await everything(journal)) == [b"right"]


async def test_reads_do_not_wait_for_a_long_write(database: SqliteDatabase, journal: SqliteJournal) -> None:
    """While a transaction is open for long, readers see what was committed before it."""
    await journal.commit([Append(draft(b"before"))])

    def slow(connection: apsw.Connection) -> None:
        connection.execute("UPDATE event SET payload = x'00'")
        time.sleep(1.0)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.sleep(0.1)
    start = time.monotonic()
    assert payloads(await everything(journal)) == [b"before"]
    assert time.monotonic() - start < 0.5
    await writing
    assert payloads(await everything(journal)) == [b"\x00"]
