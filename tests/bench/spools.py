"""When neonize's callback ran: read from the engines' spools.

An event's record in the spool carries the time of the callback (CLOCK_REALTIME, the same clock that the client of the
API reads on this machine). The worker deletes segments once their events are in its journal, so a second name is given
to each as soon as it appears: that costs the engine nothing, and the bytes stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway_worker import waproto
from gateway_worker.engine.codes import Code
from gateway_worker.engine.spool import format as layout

_LOOK: Final = 0.2  # s; a segment of 8 MiB lives longer


class SpoolKeeper:
    """Keeps what engines spool.

    Args:
        spools: The worker's folder of spools, or one above it.
        kept: Folder for the second names, on the same file system.
    """

    def __init__(self, spools: Path, kept: Path) -> None:
        self._spools = spools
        self._kept = kept
        kept.mkdir(parents=True)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Keep every segment that exists at some time during the block."""
        keeper = asyncio.create_task(self._keep(), name="spool keeper")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._look()

    async def _keep(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(_LOOK)

    def _look(self) -> None:
        for segment in self._spools.rglob(f"*{layout.SUFFIX}"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # kept already; deleted meanwhile
                os.link(segment, self._kept / f"{segment.parent.name}-{segment.name}")

    def message_times(self) -> dict[str, int]:
        """When the callback of each message ran: Unix nanoseconds by message id, the first time for a repeated one."""
        times: dict[str, int] = {}
        for path in sorted(self._kept.iterdir()):
            for record in _records(path):
                if record.code == Code.MESSAGE:
                    message_id = waproto.neonize.Message.FromString(record.payload).Info.ID
                    times.setdefault(message_id, record.time_ns)
        return times


def _records(path: Path) -> Iterator[layout.Record]:
    """The whole records of a segment; what an engine was just writing is left out."""
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        try:
            record, offset = layout.decode(data, offset)
        except layout.TornRecordError:
            return
        yield record
