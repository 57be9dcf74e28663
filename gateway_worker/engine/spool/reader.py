"""Reads a spool, that of the engine itself while it is written as well as a dead engine's."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final, Self

from gateway_worker.engine.spool import format as layout

logger = logging.getLogger(__name__)

_CHUNK: Final = 64 * 1024


def segments(folder: Path) -> list[tuple[int, Path]]:
    """List a spool's segments as (position of the first record, path), oldest first; none for a missing folder."""
    if not folder.is_dir():
        return []
    found = ((layout.first_position(path.name), path) for path in folder.iterdir())
    return sorted((first, path) for first, path in found if first is not None)


def measure(path: Path) -> tuple[int, int]:
    """Count a segment's whole records: (how many, bytes they take)."""
    with _Segment(path) as segment:
        count = 0
        while segment.next() is not None:
            count += 1
        return count, segment.offset


class _Segment:
    """One open segment, read from its beginning in chunks."""

    def __init__(self, path: Path) -> None:
        self.offset = 0  # of the next record in the file
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._buffer = b""
        self._buffer_at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def next(self) -> layout.Record | None:
        """Read the next record; None where no whole record follows (yet)."""
        record = self._decode()
        if record is None:
            self._fill(_CHUNK)
            record = self._decode()
        if record is None and (missing := layout.needed(self._buffer, 0)) > len(self._buffer):
            self._fill(missing)
            record = self._decode()
        return record

    def _decode(self) -> layout.Record | None:
        try:
            record, end = layout.decode(self._buffer, self.offset - self._buffer_at)
        except layout.TornRecordError:
            return None
        self.offset = self._buffer_at + end
        return record

    def _fill(self, size: int) -> None:
        self._buffer = os.pread(self._descriptor, size, self.offset)
        self._buffer_at = self.offset


class SpoolReader:
    """Hands out a spool's records in order, from a position on.

    A torn record ends the spool there: it is the unfinished write of an engine that was killed, or one that is being
    written this very moment and will be whole at the next call.

    Args:
        folder: The spool.
        after: Position of the last record that is not wanted any more.
    """

    def __init__(self, folder: Path, after: int = 0) -> None:
        self._folder = folder
        self._position = after
        self._segment: _Segment | None = None
        self._first = 0

    @property
    def position(self) -> int:
        """Position of the last record that was handed out or is not wanted."""
        return self._position

    def read(self, max_records: int, max_bytes: int) -> list[tuple[int, layout.Record]]:
        """Read on: (position, record), none when nothing follows yet.

        Args:
            max_records: Most records to return.
            max_bytes: Payload bytes after which no further record is added; a larger record comes alone.
        """
        batch: list[tuple[int, layout.Record]] = []
        size = 0
        while len(batch) < max_records and size < max_bytes and (record := self._next()) is not None:
            batch.append((self._position, record))
            size += len(record.payload)
        return batch

    def rewind(self, after: int) -> None:
        """Go back (or on) so that the record after position ``after`` is next."""
        self.close()
        self._position = after

    def close(self) -> None:
        """Close the open segment; reading goes on where it was."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _next(self) -> layout.Record | None:
        if self._segment is None and not self._locate():
            return None
        while self._segment is not None:
            record = self._segment.next()
            if record is not None:
                self._position += 1
                return record
            if not self._follow():
                return None
        return None

    def _locate(self) -> bool:
        """Open the segment that holds the wanted position and skip to it."""
        found = segments(self._folder)
        wanted = self._position + 1
        if not found:
            return False
        if found[0][0] > wanted:
            logger.warning("the spool begins at position %d, %d was wanted", found[0][0], wanted)
            self._position = found[0][0] - 1
            wanted = found[0][0]
        self._first, path = max(entry for entry in found if entry[0] <= wanted)
        self._segment = _Segment(path)
        for _ in range(wanted - self._first):
            if self._segment.next() is None:
                logger.error("the spool ends before position %d", wanted)
                self.close()
                return False
        return True

    def _follow(self) -> bool:
        """Go over to the next segment if there is one that begins where this one ends."""
        following = self._position + 1
        path = self._folder / layout.segment_name(following)
        if following == self._first or not path.exists():
            return False
        self.close()
        self._segment = _Segment(path)
        self._first = following
        return True
