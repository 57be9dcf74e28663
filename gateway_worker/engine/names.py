"""Tells an account's display name when it becomes known.

The phone sends it some time after the first login, in an app state of its own, and the library forwards no event of
that. Until then the account cannot come online ("can't send presence without PushName set", trap 15).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway_worker.engine.binding import GoLibrary
from gateway_worker.engine.client import Client
from gateway_worker.engine.codes import Code
from gateway_worker.engine.host import Host
from gateway_worker.engine.intake import Intake
from gateway_worker.waproto import neonize

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0


class NameFinder:
    """Asks clients that are logged in for their names, at growing intervals.

    Args:
        library: The Go library.
        host: The clients.
        intake: Takes the news: the login once more, with the name.
    """

    def __init__(self, library: GoLibrary, host: Host, intake: Intake) -> None:
        self._library = library
        self._host = host
        self._intake = intake
        self._tasks: dict[Client, asyncio.Task[None]] = {}

    def on_login(self, client: Client) -> None:
        """Find a client's name unless it is known or looked for already."""
        if client in self._tasks or _name(client.device):
            return
        task = asyncio.get_running_loop().create_task(self._find(client), name=f"name of {client.handle}")
        self._tasks[client] = task
        task.add_done_callback(lambda done: self._reap(client, done))

    async def _find(self, client: Client) -> None:
        pause = _FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            if client.ending:
                return
            device = await self._host.call(self._library.get_me, client)
            if _name(device):
                client.device = device
                await self._intake.spool_own(client.handle, Code.CONNECTED, device)
                return

    def _reap(self, client: Client, task: asyncio.Task[None]) -> None:
        del self._tasks[client]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a name could not be found out", exc_info=error)


def _name(device: bytes) -> str:
    return neonize.Device.FromString(device).PushName
