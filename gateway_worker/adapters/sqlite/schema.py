"""Opening the database file: is it ours, is it sound, is its schema the present one."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from gateway_worker.adapters.sqlite.errors import (
    DatabaseUnusableError,
    damaged,
    foreign,
    start_up_error,
    too_new,
)

APPLICATION_ID: Final = 0x57474157
"""``WGAW`` in the file's header: tells ``file(1)`` and this code whose database it is."""

BUSY_TIMEOUT: Final = 1.0
"""Seconds to wait for another program's lock (a backup, a shell); much longer would break clients' deadlines."""

CHECKED_SIZE: Final = 256 * 1024 * 1024
"""Bytes up to which the file is checked at every start (about 1 s); damage in larger ones is met when it is read."""

_COMMON_PRAGMAS = ("foreign_keys = ON", "temp_store = MEMORY", "trusted_schema = OFF")
_WRITER_PRAGMAS = (
    "synchronous = FULL",  # a commit that returned survives a power failure
    "secure_delete = ON",  # what is erased is not left in free pages
    "wal_autocheckpoint = 4000",  # pages, 16 MB: hot pages are copied back once for many commits
    f"journal_size_limit = {64 * 1024 * 1024}",  # bytes that the -wal file shrinks to after an unusual transaction
)


def open_writer(path: Path) -> apsw.Connection:
    """Open the database to write; create it, or bring its schema up to date, where needed.

    Raises:
        DatabaseUnusableError: The file is not ours, damaged, too new, locked, or the disk does not take it.
    """
    try:
        _create_private(path)
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except (apsw.Error, OSError) as error:
        raise start_up_error(path, error) from error
    try:
        connection.set_busy_timeout(round(BUSY_TIMEOUT * 1000))
        version = _identify(connection, path)
        _configure(connection, path)
        _check(connection, path)
        _migrate(connection, version)
    except apsw.Error as error:
        connection.close()
        raise start_up_error(path, error) from error
    except DatabaseUnusableError:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open a read-only connection beside a writer's; in WAL mode neither waits for the other.

    Raises:
        DatabaseUnusableError: It cannot be opened.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(round(BUSY_TIMEOUT * 1000))
        for pragma in _COMMON_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except apsw.Error as error:
        raise start_up_error(path, error) from error
    return connection


def migrations() -> list[str]:
    """The schema's steps in order: the script at index n leads from version n to version n + 1."""
    folder = resources.files("gateway_worker.adapters.sqlite") / "migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def _create_private(path: Path) -> None:
    """Where there is none, create an empty file for the owner's eyes only; SQLite gives -wal and -shm the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return  # opening it here and closing it again would drop locks that this process may hold on it
    os.close(descriptor)


def _identify(connection: apsw.Connection, path: Path) -> int:
    """Return the schema version of the file, 0 for a new one, before anything is written to it."""
    application_id: int = connection.pragma("application_id")
    version: int = connection.pragma("user_version")
    if application_id == APPLICATION_ID:
        supported = len(migrations())
        if version > supported:
            raise too_new(path, version, supported)
        return version
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if application_id != 0 or version != 0 or not is_empty:
        raise foreign(path)
    return 0


def _configure(connection: apsw.Connection, path: Path) -> None:
    if connection.pragma("journal_mode", "wal") != "wal":
        raise DatabaseUnusableError(
            path,
            "its file system does not support SQLite's write-ahead log",
            "Keep the data directory on a local disk, not on a network share",
        )
    for pragma in _COMMON_PRAGMAS + _WRITER_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _check(connection: apsw.Connection, path: Path) -> None:
    if path.stat().st_size > CHECKED_SIZE:
        return
    finding = connection.execute("PRAGMA quick_check(1)").get
    if finding != "ok":
        raise damaged(path, str(finding))


def _migrate(connection: apsw.Connection, version: int) -> None:
    """Run the steps that are missing in one transaction: an interrupted upgrade leaves the old version."""
    steps = migrations()[version:]
    if not steps:
        return
    connection.execute("BEGIN IMMEDIATE")
    for step in steps:
        connection.execute(step)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", version + len(steps))
    connection.execute("COMMIT")
