"""The data directory: everything that the embedded gateway keeps, owned by one worker at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway_worker.adapters.filesystem.errors import DataDirectoryError, DataDirectoryInUseError

MINIMUM_FREE: Final = 32 * 1024 * 1024
"""Bytes that must be free at start: the databases' logs and an engine's spool need this much before any growth."""

_PRIVATE: Final = 0o700


class DataDirectory:
    """The layout below ``GATEWAY_DATA_DIR``, held by this process between ``with`` and its end.

    ::

        lock            locked by the worker that runs here; holds its process id
        gateway.db      cards, journal, sends
        sessions/       auth databases: <tenant>/<session>/<generation>.db
        spool/          events on their way from engines
        media/staging/  media bytes on their way to engines

    Folders are made for the owner only. The lock is the kernel's: it ends with the process, however that ends.

    Args:
        root: The directory; made, with its parents, where there is none.
        minimum_free: Bytes that must be free on its disk.

    Raises:
        DataDirectoryInUseError: On entering: another worker holds the lock.
        DataDirectoryError: On entering: it cannot be made or written, or its disk is full.
    """

    def __init__(self, root: Path, *, minimum_free: int = MINIMUM_FREE) -> None:
        self.root = root.absolute()
        self._minimum_free = minimum_free
        self._lock: int | None = None

    @property
    def database(self) -> Path:
        """The gateway's database file."""
        return self.root / "gateway.db"

    @property
    def sessions(self) -> Path:
        """Folder of the auth databases."""
        return self.root / "sessions"

    @property
    def spool(self) -> Path:
        """Folder of the engines' spools."""
        return self.root / "spool"

    @property
    def media(self) -> Path:
        """Folder of media files."""
        return self.root / "media"

    @property
    def staging(self) -> Path:
        """Folder of media files that live as long as a call."""
        return self.media / "staging"

    def __enter__(self) -> Self:
        try:
            self.root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._prepare()
        except OSError as error:
            self._drop_lock()
            raise DataDirectoryError(self.root, _explain(error)) from error
        except DataDirectoryError:
            self._drop_lock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
        self._drop_lock()

    def _take_lock(self) -> int:
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DataDirectoryInUseError(self.root, int(pid) if pid.isdecimal() else None) from None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _prepare(self) -> None:
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        if free < self._minimum_free:
            raise DataDirectoryError(
                self.root,
                f"its disk has {free // 2**20} MiB left and {self._minimum_free // 2**20} MiB are needed. "
                "Free some space, then start again; nothing is lost",
            )
        for folder in (self.sessions, self.spool, self.media, self.staging):
            folder.mkdir(mode=_PRIVATE, exist_ok=True)
            folder.chmod(_PRIVATE)  # where it was there already
        if self._lock is not None:  # a write that reaches the disk, before anything depends on one
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._lock)

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _explain(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return f"permission denied{where}. Make it writable for the user that the worker runs as"
        case errno.EROFS:
            return f"its file system is read-only{where}. Mount it writable, or set GATEWAY_DATA_DIR"
        case errno.ENOSPC | errno.EDQUOT:
            return "its disk is full. Free some space, then start again; nothing is lost"
        case errno.ENOTDIR | errno.EEXIST:
            return f"there is a file where a directory must be{where}. Set GATEWAY_DATA_DIR to a directory"
        case _:
            return f"{(error.strerror or str(error)).lower()}{where}"
