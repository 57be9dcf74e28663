"""How the engine and its clients are doing, every 2 s."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from typing import Final

from gateway_worker.engine.binding import GoLibrary
from gateway_worker.engine.client import Client, Phase
from gateway_worker.engine.host import Host
from gateway_worker.engine.pump import Pump
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two reports."""

_PATIENCE: Final = 0.5
_PAGE: Final = os.sysconf("SC_PAGESIZE")


class HealthMonitor:
    """Looks after the clients and reports.

    Args:
        library: The Go library.
        host: The clients.
        pump: Sends the reports.
    """

    def __init__(self, library: GoLibrary, host: Host, pump: Pump) -> None:
        self._library = library
        self._host = host
        self._pump = pump
        self._probes: dict[Client, asyncio.Task[engine_pb2.ClientHealth]] = {}

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                self._pump.offer_health(await self.report())
            except Exception:  # the worker takes silence for death
                logger.exception("the engine's health could not be told")
            await asyncio.sleep(INTERVAL)

    async def report(self) -> engine_pb2.EngineHealth:
        """Look at everything now."""
        clients = self._host.clients
        probes = [self._probe(client) for client in clients]
        if probes:
            await asyncio.wait(probes, timeout=_PATIENCE)
        health = process_health()
        health.spool_bytes = self._pump.backlog_bytes
        health.clients.extend(self._result(client) for client in clients)
        return health

    def _probe(self, client: Client) -> asyncio.Task[engine_pb2.ClientHealth]:
        """Ask a client how it is; the question before, while it is not answered.

        The library answers only when no connection is being made, which can take half a minute: a question more every
        2 s would use up the threads.
        """
        task = self._probes.get(client)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(client))
            self._probes[client] = task
        return task

    def _result(self, client: Client) -> engine_pb2.ClientHealth:
        task = self._probes[client]
        if not task.done():
            return engine_pb2.ClientHealth(handle=client.handle)
        del self._probes[client]
        return task.result()

    async def _ask(self, client: Client) -> engine_pb2.ClientHealth:
        health = engine_pb2.ClientHealth(handle=client.handle)
        # Traps 2 and 17: only clients that are in the library's maps and stay there are asked, and not while the maps
        # are written. One that reconnects is not asked either: it would answer when it is done.
        if client.ending or not (client.online or client.phase is Phase.LINKING):
            return health
        health.connected = await self._host.call(self._library.is_connected, client)
        if client.phase is Phase.RUNNING and not client.ending:
            health.logged_in = await self._host.call(self._library.is_logged_in, client)
        return health


def process_health() -> engine_pb2.EngineHealth:
    """What the kernel says about this process.

    Raises:
        OSError: /proc cannot be read.
    """
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib has nothing to add to a proc file
        resident = int(file.read().split()[1]) * _PAGE
    return engine_pb2.EngineHealth(
        rss_bytes=resident,
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names are all that is wanted
        descriptor_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208
    )
