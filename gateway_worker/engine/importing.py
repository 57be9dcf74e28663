"""The spool that a dead engine left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from gateway_worker.engine.spool.format import Record
from gateway_worker.engine.spool.reader import SpoolReader, segments
from gateway_worker.engine.spool.writer import LOCK_NAME, lock_folder


class ImportedSpool:
    """A dead engine's spool while it is delivered; deleted once all of it is acknowledged.

    Args:
        spool_id: Its id.
        folder: Where it is. A folder that is not there is an empty spool: its engine never began to write.
        after: Last position that the worker has.

    Raises:
        SpoolInUseError: Its engine lives.
        OSError: It cannot be locked.
    """

    def __init__(self, spool_id: str, folder: Path, after: int) -> None:
        self.spool_id = spool_id
        self.sent: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves to the last position when all of it was given to the worker."""
        self._folder = folder
        self._acknowledged = after
        self._reader = SpoolReader(folder, after)
        self._lock = lock_folder(folder) if folder.is_dir() else None

    @property
    def is_done(self) -> bool:
        """Whether the worker has all of it."""
        return self.sent.done() and self._acknowledged >= self._reader.position

    def read(self, max_records: int, max_bytes: int) -> list[tuple[int, Record]]:
        """Read on; none when all was read."""
        return self._reader.read(max_records, max_bytes)

    def note_sent(self) -> None:
        """All of it was given to the worker."""
        if not self.sent.done():
            self.sent.set_result(self._reader.position)
        if self.is_done:
            self._delete()

    def acknowledge(self, position: int) -> None:
        """The worker has the events up to and with this position; the last acknowledgement deletes the spool."""
        self._acknowledged = max(self._acknowledged, position)
        if self.is_done:
            self._delete()

    def rewind(self) -> None:
        """Deliver again what is not acknowledged, to a new stream."""
        self._reader.rewind(self._acknowledged)

    def _delete(self) -> None:
        self._reader.close()
        if self._lock is None:
            return
        with contextlib.suppress(OSError):  # the worker deletes it too; what is left over does no harm
            for _, path in segments(self._folder):
                path.unlink(missing_ok=True)
            (self._folder / LOCK_NAME).unlink(missing_ok=True)
            self._folder.rmdir()
        os.close(self._lock)
        self._lock = None
