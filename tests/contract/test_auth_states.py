"""What every place for auth databases does, also while an engine has one open."""

from __future__ import annotations

import asyncio
import stat
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import apsw
import pytest

from gateway_worker.adapters.sqlite.auth import SqliteAuthStates
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.domain.ids import SessionId, SessionKey, TenantId
from gateway_worker.ports.auth import AuthStates
from tests.support.stores import KEY, OTHER

SECRET = bytes(range(32))
MESSAGE_ID = "3EB0C0FFEE"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def auth(tmp_path: Path) -> AuthStates:
    """An empty place."""
    return SqliteAuthStates(tmp_path)


async def ask(engine: asyncio.subprocess.Process, line: str) -> str:
    """Tell a process that writes an auth database what to do, and return its answer."""
    assert engine.stdin is not None
    assert engine.stdout is not None
    engine.stdin.write(f"{line}\n".encode())
    return (await engine.stdout.readline()).decode().strip()


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


class TestPrepare:
    """Making a database."""

    async def test_makes_an_empty_private_database_in_wal_mode(self, auth: AuthStates, tmp_path: Path) -> None:
        """At the documented place, for the owner only, without leftovers beside it."""
        path = await auth.prepare(KEY, 3)
        assert path == tmp_path / "default" / "alpha" / "3.db"
        assert [item.name for item in path.parent.iterdir()] == ["3.db"]
        assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o600, 0o700, 0o700)
        reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert reader.pragma("journal_mode") == "wal"
        assert reader.execute("SELECT count(*) FROM sqlite_schema").get == 0
        reader.close()

    async def test_leaves_a_database_that_is_there(self, auth: AuthStates) -> None:
        """A second call returns the same database with what it holds."""
        path = await auth.prepare(KEY, 1)
        connection = apsw.Connection(str(path))
        connection.execute("CREATE TABLE kept (x)")
        connection.close()
        before = path.read_bytes()
        assert await auth.prepare(KEY, 1) == path
        assert path.read_bytes() == before

    async def test_begins_again_after_a_crash_half_way(self, auth: AuthStates) -> None:
        """A draft that was left behind is replaced."""
        path = await auth.prepare(KEY, 1)
        path.rename(path.with_suffix(".new"))
        assert (await auth.prepare(KEY, 1)).exists()
        assert not path.with_suffix(".new").exists()

    async def test_tells_when_the_disk_does_not_take_it(self, tmp_path: Path) -> None:
        """A place that cannot be written is an outage."""
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreUnavailableError):
            await SqliteAuthStates(tmp_path / "file").prepare(KEY, 1)

    async def test_never_leaves_its_folder(self, auth: AuthStates) -> None:
        """A key that is no name is refused before it becomes a path."""
        with pytest.raises(ValueError, match="not a session key"):
            await auth.discard(SessionKey(TenantId(".."), SessionId("..")))


class TestMessageOfSecret:
    """Asking what became of a send."""

    async def test_knows_nothing_of_what_is_not_there(self, auth: AuthStates) -> None:
        """No file, and a file that no client library opened yet, hold no secret."""
        assert await auth.message_of_secret(KEY, 1, SECRET) is None
        await auth.prepare(KEY, 1)
        assert await auth.message_of_secret(KEY, 1, SECRET) is None

    async def test_reads_beside_a_live_engine_and_after_its_death(self, auth: AuthStates) -> None:
        """Reading disturbs no engine that has the database open, and finds what one that was killed left behind."""
        path = await auth.prepare(KEY, 1)
        engine = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.auth_writer", str(path)), cwd=ROOT, stdin=PIPE, stdout=PIPE
        )
        assert await ask(engine, f"store {MESSAGE_ID} {SECRET.hex()}") == "stored"
        assert await auth.message_of_secret(KEY, 1, SECRET) == MESSAGE_ID
        assert await auth.message_of_secret(KEY, 1, b"other") is None
        assert await ask(engine, f"store LATER {b'later'.hex()}") == "stored"
        assert await auth.message_of_secret(KEY, 1, b"later") == "LATER"
        assert await ask(engine, "check") == "ok"
        assert await ask(engine, "die") == ""
        assert await engine.wait() == 9
        assert path.with_name("1.db-wal").stat().st_size > 0, "what is read below is in the log of a dead process"
        before = path.read_bytes()
        assert await auth.message_of_secret(KEY, 1, SECRET) == MESSAGE_ID
        assert await auth.message_of_secret(KEY, 1, b"later") == "LATER"
        assert path.read_bytes() == before, "reading never checkpoints"
        assert await auth.message_of_secret(KEY, 2, SECRET) is None
        assert await auth.message_of_secret(OTHER, 1, SECRET) is None

    async def test_tells_when_it_cannot_be_read(self, auth: AuthStates) -> None:
        """A damaged file is an outage, not "never sent"."""
        path = await auth.prepare(KEY, 1)
        path.write_bytes(b"not a database, but long enough to be read as the header of one. " * 20)
        with pytest.raises(StoreUnavailableError):
            await auth.message_of_secret(KEY, 1, SECRET)


class TestDiscard:
    """Erasing."""

    async def test_erases_one_generation(self, auth: AuthStates) -> None:
        """The file goes with its log; other generations stay."""
        first, second = await auth.prepare(KEY, 1), await auth.prepare(KEY, 2)
        first.with_name("1.db-wal").write_bytes(b"log")
        first.with_name("1.db-shm").write_bytes(b"shared memory")
        await auth.discard(KEY, 1)
        assert [item.name for item in second.parent.iterdir()] == ["2.db"]

    async def test_erases_a_session(self, auth: AuthStates) -> None:
        """Everything of the session goes and nothing of others; a new link can follow."""
        mine, theirs = await auth.prepare(KEY, 1), await auth.prepare(OTHER, 1)
        await auth.discard(KEY)
        assert not mine.parent.exists()
        assert theirs.exists()
        assert (await auth.prepare(KEY, 2)).exists()

    async def test_does_nothing_twice(self, auth: AuthStates) -> None:
        """What is not there is erased."""
        await auth.discard(KEY, 1)
        await auth.discard(KEY)
        await auth.discard(KEY)
