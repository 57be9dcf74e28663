"""Group commit: one thread that writes, one transaction for everything that waits."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import apsw

from gateway_worker.adapters.sqlite.errors import OUTAGES, unavailable

T = TypeVar("T")

MAX_GROUP: Final = 256
"""Commits that share a transaction at most, so that the first of them does not wait for all the work of a flood."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One commit on its way.

    Attributes:
        work: What it does, on the writer's thread, inside the transaction.
        applied: Told the result on the event loop once it is on disk, also when nobody waits any more.
        future: Its result, for who waits.
        outcome: The result, once ``work`` was done.
        error: Why it was not applied.
    """

    work: Callable[[apsw.Connection], T]
    applied: Callable[[T], None] | None
    future: asyncio.Future[T]
    outcome: T | None = None
    error: Exception | None = None


class GroupWriter:
    """The only writer of a database.

    A thread takes everything that was submitted while it was busy and commits it as one transaction: the more wait,
    the fewer syncs of the disk each costs. A job that fails takes back its own changes and no neighbour's. Results come
    back to the event loop in the order of submission, one wake-up a group.

    Because there is one thread, a number taken from a counter inside a job becomes visible to readers in its order,
    without a hole: no later number is ever on disk before an earlier one.

    Args:
        connection: Used by this writer alone until :meth:`close` returned.
        name: Of the database, for logs.
    """

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._is_out = False
        self._thread = threading.Thread(target=self._serve, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[apsw.Connection], T], applied: Callable[[T], None] | None) -> asyncio.Future[T]:
        """Queue a commit; the future resolves once it is on disk. Cancelling the future does not undo it."""
        job = _Job(work, applied, self._loop.create_future())
        self._queue.put(job)
        return job.future

    async def close(self) -> None:
        """Commit what was submitted, settle it, and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # On the writer's thread.

    def _serve(self) -> None:
        is_open = True
        while is_open:
            group: list[_Job[Any]] = []
            job = self._queue.get()
            while job is not None:
                group.append(job)
                if len(group) == MAX_GROUP or self._queue.empty():
                    break
                job = self._queue.get()
            is_open = job is not None
            if group:
                self._commit_group(group)
                self._loop.call_soon_threadsafe(self._settle, group)

    def _commit_group(self, group: Sequence[_Job[Any]]) -> None:
        """Commit together, and give each job its own fate if that fails.

        Savepoints are for the second attempt only: nearly always nobody fails, and each statement costs more than its
        own microseconds, because around it the thread lets go of the interpreter and waits to get it back.
        """
        error = self._commit(group, isolate=False)
        # Behind a lock that did not go away in time, waiting once more for each job helps nobody.
        if error is not None and len(group) > 1 and not isinstance(error, apsw.BusyError):
            error = self._commit(group, isolate=True)
            if error is not None:  # the transaction as a whole was lost, as it is when its end does not fit on the disk
                for job in group:
                    job.error = self._commit([job], isolate=False)
                error = None
        if error is not None:
            for job in group:
                job.error = error
        self._log_outages(group)

    def _commit(self, group: Sequence[_Job[Any]], *, isolate: bool) -> Exception | None:
        """Run one transaction. Returns why nothing of it was kept, None when it is on disk.

        With ``isolate``, a job that fails takes back its own changes and keeps its error; without, it fails them all.
        """
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for job in group:
                if isolate:
                    self._run_isolated(job)
                else:
                    job.outcome = job.work(self._connection)
            execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the jobs' own, told to those who wait for them
            self._roll_back()
            return error
        return None

    def _run_isolated(self, job: _Job[Any]) -> None:
        execute = self._connection.execute
        execute("SAVEPOINT job")
        try:
            job.outcome = job.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave up the whole transaction
            execute("ROLLBACK TO job")
            job.error = error
        execute("RELEASE job")

    def _roll_back(self) -> None:
        if not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except apsw.Error:
            logger.exception("%s: rolling back failed", self._name)

    def _log_outages(self, group: Sequence[_Job[Any]]) -> None:
        """Log when the database stops and starts to take commits, not each commit in between."""
        outage = next((job.error for job in group if isinstance(job.error, OUTAGES)), None)
        if outage is not None and not self._is_out:
            logger.error("%s: commits fail: %s: %s", self._name, type(outage).__name__, outage)
        elif outage is None and self._is_out:
            logger.warning("%s: commits succeed again", self._name)
        self._is_out = outage is not None

    # On the event loop.

    def _settle(self, group: Sequence[_Job[Any]]) -> None:
        for job in group:
            if job.error is None and job.applied is not None:
                try:
                    job.applied(job.outcome)
                except Exception:
                    logger.exception("%s: a listener failed; the commit stands", self._name)
            if job.future.cancelled():
                continue
            if job.error is None:
                job.future.set_result(job.outcome)
            elif isinstance(job.error, OUTAGES):
                error = unavailable()
                error.__cause__ = job.error
                job.future.set_exception(error)
            else:
                job.future.set_exception(job.error)
