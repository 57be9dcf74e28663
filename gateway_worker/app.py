"""The composition root: builds the worker, in the order in which it must end again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from gateway_worker.adapters.engine.config import MIB, EngineConfig
from gateway_worker.adapters.engine.environment import SimulatorFileError
from gateway_worker.adapters.engine.pool import EnginePool
from gateway_worker.adapters.filesystem.data_dir import DataDirectory
from gateway_worker.adapters.filesystem.errors import DataDirectoryError
from gateway_worker.adapters.filesystem.staging import FileMediaStaging
from gateway_worker.adapters.memory.clock import SystemClock
from gateway_worker.adapters.memory.codes import MemoryCodeStore
from gateway_worker.adapters.sqlite.auth import SqliteAuthStates
from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.errors import DatabaseUnusableError
from gateway_worker.adapters.sqlite.journal import SqliteJournal
from gateway_worker.adapters.sqlite.outbox import SqliteOutbox
from gateway_worker.adapters.sqlite.sessions import SqliteSessionStore
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.runtime import stop_on_signals
from gateway_worker.service.server import GatewayServer, ListenError, ServerConfig
from gateway_worker.sessions.gateway import Gateway, Ports
from gateway_worker.sessions.housekeeping import prune_regularly
from gateway_worker.settings import Settings
from gateway_worker.telemetry.logs import set_up_logging

logger = logging.getLogger(__name__)


class StartupError(Exception):
    """The worker cannot start; the message tells the operator why and what to do."""


def run(settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Run a worker in this process until SIGTERM or SIGINT. See :func:`serve`."""
    uvloop.run(serve(settings, ready=ready))


async def serve(settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Run a worker until SIGTERM or SIGINT, then drain it.

    Args:
        settings: How.
        ready: Called with the bound address, HOST:PORT, once calls are served.

    Raises:
        StartupError: It cannot start.
    """
    set_up_logging(settings.log_level, settings.log_format)
    with stop_on_signals() as stop:
        try:
            async with _worker(settings) as address:
                ready(address)
                await stop.wait()
        except (DataDirectoryError, DatabaseUnusableError, ListenError, SimulatorFileError) as error:
            raise StartupError(str(error)) from error
        except StoreUnavailableError as error:
            raise StartupError(f"{settings.data_dir}: its database or disk does not take writes") from error


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[str]:
    """A running worker; yields its address. What is entered last ends first: that is the drain order."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        data = stack.enter_context(DataDirectory(settings.data_dir))
        database = await stack.enter_async_context(SqliteDatabase(data.database))
        staging = await stack.enter_async_context(FileMediaStaging(data.staging))
        journal = SqliteJournal(database, clock)
        gateway = Gateway(
            Ports(
                journal=journal,
                log=journal,
                store=SqliteSessionStore(database),
                outbox=SqliteOutbox(database, clock),
                auth=SqliteAuthStates(data.sessions),
                codes=MemoryCodeStore(clock),
                staging=staging,
                clock=clock,
            )
        )
        stack.push_async_callback(gateway.close)
        config = EngineConfig(
            spool_directory=data.spool,
            simulator=settings.simulator,
            clients_per_engine=settings.sessions_per_engine,
            recycle_rss_bytes=settings.engine_max_rss_mib * MIB,
        )
        try:
            engines = await stack.enter_async_context(EnginePool(config, gateway.listener))
        except OSError as error:
            raise StartupError(f"a folder for engines cannot be made: {error.strerror}") from error
        await gateway.load(engines)
        stack.push_async_callback(engines.drain)
        stack.push_async_callback(gateway.rest)
        server = await stack.enter_async_context(
            GatewayServer(gateway, ServerConfig(listen=settings.listen, stall_timeout=settings.stream_stall_seconds))
        )
        gateway.connect()
        pruning = asyncio.create_task(
            prune_regularly(journal, clock, settings.event_retention_days), name="prune the journal"
        )
        stack.callback(pruning.cancel)
        await server.set_ready(ready=True)
        if settings.simulator is not None:
            logger.warning("sessions talk to the simulator of %s, not to WhatsApp", settings.simulator)
        try:
            yield server.address
        finally:
            await server.begin_drain()
            gateway.close_streams()
            await server.stop(settings.drain_seconds)
            logger.info("drained: clients are stopped next")
