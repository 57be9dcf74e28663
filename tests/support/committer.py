"""A process that commits without end, to be killed at any moment.

``python -m tests.support.committer FILE`` appends events to two sessions from several tasks at once and prints
``POSITION SESSION SEQUENCE`` for each event once its commit returned.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway_worker.adapters.memory.clock import SystemClock
from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.journal import SqliteJournal
from gateway_worker.ports.journal import Append, MarkSpool, Operation
from tests.support.stores import OTHER, draft

TASKS = 8


async def main() -> None:
    """Commit until killed."""
    async with SqliteDatabase(Path(sys.argv[1])) as database:
        journal = SqliteJournal(database, SystemClock())

        async def commit_for_ever() -> None:
            while True:
                operations: list[Operation] = [
                    Append(draft(b"x" * 500)),
                    Append(draft(b"y", key=OTHER)),
                    MarkSpool("spool", 1),
                ]
                for event in await journal.commit(operations):
                    sys.stdout.write(f"{event.position} {event.draft.key.session} {event.sequence}\n")
                sys.stdout.flush()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(TASKS):
                tasks.create_task(commit_for_ever())


if __name__ == "__main__":
    asyncio.run(main())
