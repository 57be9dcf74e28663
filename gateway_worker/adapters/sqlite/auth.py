"""The sessions' auth databases: made here, written by engines, read here while an engine has them open.

An engine holds locks on its file that belong to its process, and SQLite's ``-shm`` is memory that both share. From
another process the only safe way in is SQLite itself, read-only: nothing here ever opens such a file to write once it
exists, or reads its bytes, and a read-only connection never checkpoints.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw

from gateway_worker.adapters.sqlite.errors import OUTAGES, unavailable
from gateway_worker.domain.ids import SessionKey, is_name

T = TypeVar("T")

BUSY_TIMEOUT: Final = 1.0
"""Seconds to wait for an engine's lock; in WAL mode a reader meets one only while the log is being recovered."""

_UNUSABLE: Final[tuple[type[Exception], ...]] = (OSError, *OUTAGES)

# whatsmeow stores the secret of a message that it sends, with its id, before the message goes to the wire
# (send.go, Client.SendMessage; table in store/sqlstore/upgrades).
_TABLE: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'whatsmeow_message_secrets'"
_FIND_MESSAGE: Final = "SELECT message_id FROM whatsmeow_message_secrets WHERE key = ? LIMIT 1"


class SqliteAuthStates:
    """Auth databases at ``<root>/<tenant>/<session>/<generation>.db``, for the owner's eyes only.

    Args:
        root: Folder of all sessions; must exist.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def prepare(self, key: SessionKey, generation: int) -> Path:
        """See :meth:`gateway_worker.ports.auth.AuthStates.prepare`."""
        path = self._folder(key) / f"{generation}.db"
        await asyncio.to_thread(_store, _prepare, path)
        return path

    async def message_of_secret(self, key: SessionKey, generation: int, secret: bytes) -> str | None:
        """See :meth:`gateway_worker.ports.auth.AuthStates.message_of_secret`."""
        path = self._folder(key) / f"{generation}.db"
        return await asyncio.to_thread(_store, lambda path: _message_of_secret(path, secret), path)

    async def discard(self, key: SessionKey, generation: int | None = None) -> None:
        """See :meth:`gateway_worker.ports.auth.AuthStates.discard`.

        Raises:
            StoreUnavailableError: The files cannot be removed.
        """
        folder = self._folder(key)
        if generation is None:
            await asyncio.to_thread(_store, _remove_folder, folder)
        else:
            await asyncio.to_thread(_store, _remove_database, folder / f"{generation}.db")

    def _folder(self, key: SessionKey) -> Path:
        # The edge checked both; a folder that is removed with all its contents is worth a second look.
        if not is_name(key.tenant) or not is_name(key.session):
            raise ValueError("not a session key")
        return self._root / key.tenant / key.session


def _store(work: Callable[[Path], T], path: Path) -> T:
    """Run ``work``, turning what says that disk or database cannot be used now into the ports' error."""
    try:
        return work(path)
    except _UNUSABLE as error:
        raise unavailable() from error


def _prepare(path: Path) -> None:
    """Create the database under another name first: under its own it is in WAL mode, or not there."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    if path.exists():
        return
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(draft), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("journal_mode", "wal")
    finally:
        connection.close()
    draft.rename(path)
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        _sync_folder(folder)  # the client library syncs what is in the file, nobody else its name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _message_of_secret(path: Path, secret: bytes) -> str | None:
    if not path.exists():
        return None
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"{path.absolute().as_uri()}?mode=ro", flags=flags)
    try:
        connection.set_busy_timeout(round(BUSY_TIMEOUT * 1000))
        if connection.execute(_TABLE).get is None:
            return None  # the client library has not opened it yet
        message_id: str | None = connection.execute(_FIND_MESSAGE, (secret,)).get
        return message_id
    finally:
        connection.close()


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
