"""Appends events to a spool.

A record is in the page cache when :meth:`SpoolWriter.append` returns: it outlives the SIGKILL of the process, not a
power cut. An engine is built to be killed, a machine is not, and fdatasync would cost some 40 times the append (441 µs
against 12 µs) on the thread that WhatsApp's events wait for.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_worker.engine.spool import format as layout
from gateway_worker.engine.spool.reader import measure, segments

logger = logging.getLogger(__name__)

SEGMENT_SIZE: Final = 8 * 1024 * 1024
"""A segment takes records until it has this many bytes; acknowledged events are forgotten a segment at a time."""

LOCK_NAME: Final = "lock"
"""File that is locked for as long as an engine writes the spool, so that nobody imports the spool of a live one."""


class SpoolInUseError(Exception):
    """Another process writes this spool."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    count: int
    size: int

    @property
    def last(self) -> int:
        return self.first + self.count - 1


def lock_folder(folder: Path) -> int:
    """Take the folder's lock for as long as the returned descriptor is open.

    Raises:
        SpoolInUseError: Another process holds it.
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolInUseError(f"the spool {folder} is in use") from error
    return descriptor


class SpoolWriter:
    """The one writer of a spool; safe to use from any thread.

    A folder that holds a spool already is continued: a torn tail is cut off, positions go on.

    Args:
        folder: Where the segments are; made when it is not there, for this user only.
        on_append: Called after each append, on the appending thread. Must be quick and not raise.
        segment_size: Bytes after which a new segment begins.
        write: ``os.write``, or what a test puts in its place to fill the disk.

    Raises:
        SpoolInUseError: Another process writes it.
        OSError: The folder or a segment cannot be made, read or written.
    """

    def __init__(
        self,
        folder: Path,
        on_append: Callable[[], None],
        *,
        segment_size: int = SEGMENT_SIZE,
        write: Callable[[int, bytes | memoryview], int] = os.write,
    ) -> None:
        self._folder = folder
        self._on_append = on_append
        self._segment_size = segment_size
        self._write = write
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_descriptor = lock_folder(folder)
        self._segments = self._recover()
        self._descriptor = self._open(self._segments[-1])
        self._torn = False

    @property
    def last_position(self) -> int:
        """Position of the newest event; 0 when there never was one."""
        return self._segments[-1].last

    def append(self, record: layout.Record) -> int:
        """Append a record and return its position.

        Raises:
            OSError: It is not in the spool, for example because the disk is full; the spool is as it was before.
            ValueError: The record cannot be framed.
        """
        data = layout.encode(record)
        with self._lock:
            if self._torn:
                self._cut_back()
            if self._segments[-1].size >= self._segment_size:
                self._rotate(self._segments[-1].last + 1)
            self._write_whole(data)
            current = self._segments[-1]
            current.size += len(data)
            current.count += 1
            position = current.last
        self._on_append()
        return position

    def discard(self, through: int) -> None:
        """Delete the segments that hold nothing after position ``through``.

        The newest segment stays, empty of news as it may be: its name is where positions go on after a restart.
        """
        with self._lock:
            while len(self._segments) > 1 and self._segments[0].last <= through:
                self._segments.pop(0).path.unlink(missing_ok=True)

    def continue_after(self, position: int) -> None:
        """Never give out ``position`` or one before it again.

        Needed when the worker has more than the disk: after a power cut, which may take the newest records with it.

        Raises:
            OSError: A new segment cannot be made.
        """
        with self._lock:
            if position > self._segments[-1].last:
                self._rotate(position + 1)

    def bytes_after(self, position: int) -> int:
        """Bytes of the records after ``position``; within a segment by the average record."""
        with self._lock:
            return sum(
                segment.size * min(segment.count, max(0, segment.last - position)) // segment.count
                for segment in self._segments
                if segment.count
            )

    def close(self) -> None:
        """Close the files. What was appended stays."""
        with self._lock:
            os.close(self._descriptor)
            os.close(self._lock_descriptor)

    def _recover(self) -> list[_Segment]:
        found = segments(self._folder)
        if not found:
            return [_Segment(self._folder / layout.segment_name(1), 1, 0, 0)]
        recovered = []
        for first, path in found:
            count, size = measure(path)
            recovered.append(_Segment(path, first, count, size))
        newest = recovered[-1]
        torn = newest.path.stat().st_size - newest.size
        if torn:
            logger.warning("the spool ended in %d bytes of an unfinished record, which are cut off", torn)
            os.truncate(newest.path, newest.size)
        return recovered

    def _open(self, segment: _Segment) -> int:
        return os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self, first: int) -> None:
        segment = _Segment(self._folder / layout.segment_name(first), first, 0, 0)
        descriptor = self._open(segment)
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._segments.append(segment)

    def _write_whole(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._write(self._descriptor, rest) :]
        except OSError:
            self._torn = len(rest) < len(data)
            if self._torn:
                self._cut_back()
            raise

    def _cut_back(self) -> None:
        """Remove the part of a record that a full disk let through, so that the next one does not follow garbage."""
        os.ftruncate(self._descriptor, self._segments[-1].size)
        self._torn = False
