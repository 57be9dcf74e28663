"""The database file: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gateway_worker.adapters.sqlite import schema
from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.errors import DatabaseUnusableError
from gateway_worker.adapters.sqlite.journal import SCAN_SPAN, SqliteJournal, page_query
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.domain.ids import ORIGIN, Position
from gateway_worker.ports.journal import Append, CreateSession
from gateway_worker.ports.records import EventFilter, EventPage
from tests.support.limits import file_size_limit
from tests.support.stores import ManualClock, card, draft, open_stores, payloads


def other_application(path: Path) -> None:
    """A database that some other program made."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE notes (text); INSERT INTO notes VALUES ('keep me')")


def marked_by_other_application(path: Path) -> None:
    """An empty database that carries another program's mark."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("application_id", 0x12345678)


def newer_gateway(path: Path) -> None:
    """A database of a gateway that is years ahead."""
    with closing(schema.open_writer(path)) as connection:
        connection.pragma("user_version", 999)


def no_database(path: Path) -> None:
    """A file of something else."""
    path.write_text("Dear diary, " * 1000)


def damaged(path: Path) -> None:
    """A database of ours with rubbish where a page was."""
    with closing(schema.open_writer(path)) as connection:
        connection.executemany(
            "INSERT INTO event VALUES (?, 'default', 'alpha', ?, 12, 0, 0, zeroblob(1000))",
            ((number, number) for number in range(1, 200)),
        )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def directory(path: Path) -> None:
    """A directory where the file should be."""
    path.mkdir()


class TestRefusal:
    """Files that the worker does not start on."""

    @pytest.mark.parametrize(
        ("make", "problem", "remedy"),
        [
            (other_application, "another application", "GATEWAY_DATA_DIR"),
            (marked_by_other_application, "another application", "GATEWAY_DATA_DIR"),
            (newer_gateway, "newer gateway-worker (schema 999", "Start the newer"),
            (no_database, "not a SQLite database", "GATEWAY_DATA_DIR"),
            (damaged, "damaged", "restore a backup"),
            (directory, "cannot be opened", "readable and writable"),
        ],
    )
    async def test_names_file_problem_and_remedy(
        self, tmp_path: Path, make: Callable[[Path], None], problem: str, remedy: str
    ) -> None:
        """The error tells the operator what is wrong with which file and what to do; the file is left as it was."""
        path = tmp_path / "gateway.db"
        make(path)
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(DatabaseUnusableError) as caught:
            async with SqliteDatabase(path):
                pytest.fail("it must not start")
        assert str(path) in str(caught.value)
        assert problem in caught.value.problem
        assert remedy in caught.value.remedy
        assert (path.read_bytes() if path.is_file() else b"") == before

    async def test_a_missing_directory(self, tmp_path: Path) -> None:
        """The directory is not the database's to make."""
        with pytest.raises(DatabaseUnusableError, match="no such file or directory"):
            await SqliteDatabase(tmp_path / "missing" / "gateway.db").__aenter__()

    async def test_a_full_disk(self, tmp_path: Path) -> None:
        """A disk that does not take the schema is named, and once it does, the same file serves."""
        path = tmp_path / "gateway.db"
        with file_size_limit(100), pytest.raises(DatabaseUnusableError, match="disk"):
            await SqliteDatabase(path).__aenter__()
        async with SqliteDatabase(path):
            pass

    async def test_another_program_holds_it(self, tmp_path: Path) -> None:
        """A lock that does not go away within the time-out is named."""
        path = tmp_path / "gateway.db"
        with closing(schema.open_writer(path)) as other:
            other.pragma("user_version", 0)  # so that there is something to migrate, and to wait for
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnusableError, match="another program holds a lock"):
                await SqliteDatabase(path).__aenter__()


class TestLife:
    """From opening to closing."""

    async def test_files_are_for_the_owner_only(self, tmp_path: Path) -> None:
        """The database, its log and its shared memory."""
        async with open_stores("sqlite", tmp_path) as stores:
            await stores.journal.commit([Append(draft())])
            modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in tmp_path.iterdir()}
        assert modes == {"gateway.db": 0o600, "gateway.db-wal": 0o600, "gateway.db-shm": 0o600}

    async def test_keeps_everything_over_a_restart(self, tmp_path: Path) -> None:
        """A clean end leaves one file, and numbers go on from it."""
        async with open_stores("sqlite", tmp_path) as stores:
            await stores.journal.commit([CreateSession(card()), Append(draft(b"first"))])
        assert [item.name for item in tmp_path.iterdir()] == ["gateway.db"]
        async with open_stores("sqlite", tmp_path) as stores:
            (event,) = await stores.journal.commit([Append(draft(b"second"))])
            assert (event.position, event.sequence) == (2, 2)
            assert await stores.sessions.sessions() == [card()]
            assert payloads(await stores.all_events()) == [b"first", b"second"]

    async def test_commits_under_way_are_finished_at_the_end(self, tmp_path: Path) -> None:
        """What was asked for before the end is committed and answered; later calls are refused."""
        async with SqliteDatabase(tmp_path / "gateway.db") as database:
            journal = SqliteJournal(database, ManualClock())
            calls = [asyncio.create_task(journal.commit([Append(draft())])) for _ in range(300)]
            await asyncio.sleep(0)
        assert [call.result()[0].position for call in calls] == list(range(1, 301))
        with pytest.raises(StoreUnavailableError):
            await journal.commit([Append(draft())])
        with pytest.raises(StoreUnavailableError):
            await journal.bounds()

    async def test_commits_that_wait_share_a_transaction(self, tmp_path: Path) -> None:
        """A hundred commits at once take a handful of transactions, so of syncs."""
        transactions = 0

        def count() -> bool:
            nonlocal transactions
            transactions += 1
            return False

        async with SqliteDatabase(tmp_path / "gateway.db") as database:
            await database.write(lambda connection: connection.set_commit_hook(count))
            journal = SqliteJournal(database, ManualClock())
            await asyncio.gather(*(journal.commit([Append(draft())]) for _ in range(100)))
        assert transactions <= 10

    async def test_a_commit_is_synced(self, tmp_path: Path) -> None:
        """The settings that durability rests on are in force on the connection that writes."""
        async with SqliteDatabase(tmp_path / "gateway.db") as database:

            def in_force(connection: apsw.Connection) -> list[object]:
                return [connection.pragma(name) for name in ("journal_mode", "synchronous", "secure_delete")]

            assert await database.write(in_force) == ["wal", 2, 1]

    async def test_a_read_has_one_unchanging_view(self, tmp_path: Path) -> None:
        """What is committed while a read is under way is seen by the next read."""
        async with SqliteDatabase(tmp_path / "gateway.db") as database:
            has_begun, may_go_on = threading.Event(), threading.Event()

            def look_twice(connection: apsw.Connection) -> list[int]:
                first = connection.execute("SELECT position FROM journal_head").get
                has_begun.set()
                may_go_on.wait(10)
                return [first, connection.execute("SELECT position FROM journal_head").get]

            reading = asyncio.create_task(database.read(look_twice))
            await asyncio.to_thread(has_begun.wait, 10)
            journal = SqliteJournal(database, ManualClock())
            await journal.commit([Append(draft())])
            may_go_on.set()
            assert await reading == [0, 0]
            assert (await journal.bounds()).head == 1

    async def test_readers_cannot_write(self, tmp_path: Path) -> None:
        """The reader's connection is read-only."""
        async with SqliteDatabase(tmp_path / "gateway.db") as database:
            with pytest.raises(StoreUnavailableError):
                await database.read(lambda connection: connection.execute("DELETE FROM event"))


class TestMigrations:
    """Schema versions."""

    async def test_a_step_that_fails_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """All missing steps are one transaction: after a failed upgrade the old version opens as before."""
        async with open_stores("sqlite", tmp_path) as stores:
            await stores.journal.commit([Append(draft(b"kept"))])
        steps = schema.migrations()
        with monkeypatch.context() as patch:
            patch.setattr(schema, "migrations", lambda: [*steps, "DROP TABLE event", "NOT EVEN SQL"])
            with pytest.raises(DatabaseUnusableError, match="SQLite refuses it"):
                await SqliteDatabase(tmp_path / "gateway.db").__aenter__()
        async with open_stores("sqlite", tmp_path) as stores:
            assert payloads(await stores.all_events()) == [b"kept"]

    async def test_only_missing_steps_are_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An older database is brought up to date with what it holds, once."""
        async with open_stores("sqlite", tmp_path) as stores:
            await stores.journal.commit([Append(draft(b"kept"))])
        steps = [*schema.migrations(), "ALTER TABLE event ADD COLUMN origin TEXT"]
        monkeypatch.setattr(schema, "migrations", lambda: steps)
        for _ in range(2):
            async with open_stores("sqlite", tmp_path) as stores:
                assert payloads(await stores.all_events()) == [b"kept"]
        async with SqliteDatabase(tmp_path / "gateway.db") as database:
            assert await database.read(lambda connection: connection.pragma("user_version")) == len(steps)


async def test_one_read_looks_at_a_limited_piece(tmp_path: Path) -> None:
    """A filter that accepts nothing does not keep the reader busy for the length of the journal."""
    async with open_stores("sqlite", tmp_path) as stores:
        await stores.journal.commit([Append(draft())] * (SCAN_SPAN + 1))
        page = await stores.events.read(ORIGIN, EventFilter("nobody"), 10)
        assert page == EventPage([], Position(SCAN_SPAN))


@pytest.mark.parametrize(
    ("where", "plan"),
    [
        (EventFilter("default"), "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (EventFilter("default", frozenset({"a", "b"})), "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (EventFilter("default", kinds=frozenset({12})), "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            EventFilter("default", frozenset({"a"}), frozenset({12})),
            "SEARCH event USING INDEX event_of_session (tenant=? AND session=? AND rowid>? AND rowid<?)",
        ),
    ],
)
def test_a_page_is_read_in_order_without_sorting(tmp_path: Path, where: EventFilter, plan: str) -> None:
    """Every filter walks a range of positions; none collects a tenant's events to sort them."""
    with closing(schema.open_writer(tmp_path / "gateway.db")) as connection:
        query, bindings = page_query(Position(5), Position(500), where, 100)
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", bindings)]
    assert steps[0] == plan
    assert not any("TEMP B-TREE" in step for step in steps)
