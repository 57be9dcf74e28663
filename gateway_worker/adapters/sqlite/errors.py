"""What can go wrong with the database file: at start-up for the operator, while running for clients."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from gateway_worker.domain.errors import StoreUnavailableError

RETRY_AFTER: Final = 1.0
"""Seconds after which a client may try again."""


class DatabaseUnusableError(Exception):
    """The worker cannot start on this database. Written for the operator.

    Args:
        path: The database file.
        problem: What is wrong with it.
        remedy: What to do about it.
    """

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"cannot use the database {path}: {problem}. {remedy}.")


_DAMAGED = (
    "Keep a copy of the file and its -wal file, then restore a backup, or save what can be read with "
    "`sqlite3 FILE .recover`"
)
_FOREIGN = "Point GATEWAY_DATA_DIR to a directory of this gateway or to an empty one"
_NO_ACCESS = "Make the file and its directory readable and writable for the user that the worker runs as"

# By SQLite's primary result code: what is wrong, what to do.
_START_UP_PROBLEMS: dict[type[apsw.Error], tuple[str, str]] = {
    apsw.NotADBError: ("it is not a SQLite database", _FOREIGN),
    apsw.CorruptError: ("it is damaged", _DAMAGED),
    apsw.CantOpenError: ("it cannot be opened", _NO_ACCESS),
    apsw.PermissionsError: ("access is denied", _NO_ACCESS),
    apsw.ReadOnlyError: ("it is read-only", _NO_ACCESS),
    apsw.BusyError: ("another program holds a lock on it", "Close the program that has it open"),
    apsw.FullError: ("the disk is full", "Free some space, then start again; nothing is lost"),
    apsw.IOError: ("the disk reports an error", "Look for disk errors in the system's log (dmesg)"),
}

OUTAGES: Final[tuple[type[apsw.Error], ...]] = (
    *_START_UP_PROBLEMS,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.InterruptError,
    apsw.ProtocolError,
)
"""What SQLite raises when the database cannot be used now. Everything else says that the code is wrong."""


def start_up_error(path: Path, error: apsw.Error | OSError) -> DatabaseUnusableError:
    """Translate what opening the file raised."""
    if isinstance(error, OSError):
        return DatabaseUnusableError(path, (error.strerror or "it cannot be opened").lower(), _NO_ACCESS)
    problem, remedy = _START_UP_PROBLEMS.get(type(error), ("SQLite refuses it", _DAMAGED))
    return DatabaseUnusableError(path, f"{problem} ({error})", remedy)


def damaged(path: Path, finding: str) -> DatabaseUnusableError:
    """The integrity check found something."""
    return DatabaseUnusableError(path, f"it is damaged ({finding})", _DAMAGED)


def foreign(path: Path) -> DatabaseUnusableError:
    """The file is some other application's database."""
    return DatabaseUnusableError(path, "it is a database of another application", _FOREIGN)


def too_new(path: Path, version: int, supported: int) -> DatabaseUnusableError:
    """A newer gateway wrote the file."""
    return DatabaseUnusableError(
        path,
        f"it was written by a newer gateway-worker (schema {version}, this one knows {supported})",
        "Start the newer gateway-worker again, or restore a backup made before the upgrade",
    )


def unavailable() -> StoreUnavailableError:
    """What the ports promise for an outage; raise it from what SQLite raised."""
    return StoreUnavailableError(retry_after=RETRY_AFTER)
