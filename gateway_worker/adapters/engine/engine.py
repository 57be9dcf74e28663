"""One engine as the pool sees it: a process, its streams, and the clients that live in it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway_worker.adapters.engine.client import EngineClient
from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.placement import Role
from gateway_worker.adapters.engine.process import EngineProcess
from gateway_worker.ports.engines import ClientSpec, EngineCallError, EngineGoneError
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_STRAY = 1.0  # s that a process without streams is given to end by itself before it is killed
_HARMLESS_STOP_FAILURES = frozenset({engine_pb2.FAILURE_KIND_NOT_LIVE, engine_pb2.FAILURE_KIND_SHUTTING_DOWN})


class Phase(Enum):
    """Where a client is in its life."""

    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()  # asked for by the core
    MOVING = auto()  # being stopped because its engine is recycled or drained
    LOST = auto()  # its engine is dead; what it spooled is not all delivered yet


@dataclass(slots=True, eq=False)
class Placement:
    """A client's place: it stays taken until every event of the client was delivered.

    Attributes:
        handle: The session's handle.
        engine: Where it is; None while an engine is being found.
        linked: Whether the client is linked; turns True when a phone links it.
        phase: Where it is in its life.
        ended: Whether it reported that it ended by itself.
        ran: Whether its engine ever said that it started.
        started: Set once it is known whether it started.
        released: Set once the place is free.
    """

    handle: str
    linked: bool
    engine: Engine | None = None
    phase: Phase = Phase.STARTING
    ended: bool = False
    ran: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def live(self) -> bool:
        """Whether the client runs and may be given commands."""
        return self.phase is Phase.RUNNING and not self.ended


class Engine:
    """A running engine.

    Args:
        role: What it is for.
        process: Its process.
        client: Its streams, ready.
        config: Limits and times.

    Attributes:
        engine_id: Its id, also the id of its spool.
        placements: The clients in it, by handle.
        open: Whether new clients may be placed in it at all.
        leaving: Whether its end has begun.
        imports: Imports it is reserved for; it takes no clients meanwhile.
        used: Whether a client was ever placed in it.
        abandoned: Linkings in it that ended without a link.
        planned: Whether it was asked to end.
        drained: Whether everything it ever spooled was delivered and nothing can follow.
        gone: Set once it is dead, its spool was dealt with and its clients were given up.
        born: Time of the event loop at which it was ready.
        idle_since: Time of the event loop at which its last client left.
        silent_looks: Looks of the housekeeping in a row at which nothing new was heard.
    """

    def __init__(self, role: Role, process: EngineProcess, client: EngineClient, config: EngineConfig) -> None:
        self.engine_id = process.engine_id
        self.process = process
        self.client = client
        self.placements: dict[str, Placement] = {}
        self.open = True
        self.leaving = False
        self.imports = 0
        self.used = False
        self.abandoned = 0
        self.planned = False
        self.drained = False
        self.gone = asyncio.Event()
        self.born = self.idle_since = asyncio.get_running_loop().time()
        self.silent_looks = 0
        self._role = role
        self._config = config
        self._heard = 0
        self._slots = asyncio.Semaphore(config.lifecycle_concurrency)

    @property
    def role(self) -> Role:
        """What it is for."""
        return self._role

    @property
    def load(self) -> int:
        """Clients that live in it or are on their way in or out."""
        return len(self.placements)

    @property
    def takes_clients(self) -> bool:
        """Whether new clients may be placed in it."""
        return self.open and not self.imports

    def look(self) -> None:
        """Count the looks in a row at which the engine said nothing although it was listened to.

        Looks are counted, not seconds: after a pause of the worker's own process a single one is due.
        """
        silent = self.client.listening and self.client.heard == self._heard
        self._heard = self.client.heard
        self.silent_looks = self.silent_looks + 1 if silent else 0

    def kill(self, reason: str) -> None:
        """End the process at once; the watch over it does the rest."""
        logger.error("engine %s: killed: %s", self.engine_id, reason)
        self.process.kill()

    async def start_client(self, spec: ClientSpec) -> None:
        """Start a client. Raises EngineCallError, EngineGoneError."""
        command = engine_pb2.StartSession(
            handle=spec.handle, database_path=str(spec.database_path), device_name=spec.device_name
        )
        async with self._slots:
            await self._answer(engine_pb2.ControlRequest(start=command), self._config.start_timeout, "start a client")

    async def stop_client(self, handle: str) -> None:
        """Stop a client; returns once its last event was delivered.

        Raises:
            EngineGoneError: The engine died, or was killed because it could not do it.
        """
        request = engine_pb2.ControlRequest(stop=engine_pb2.StopSession(handle=handle))
        try:
            async with self._slots:
                response = await self._answer(request, self._config.stop_timeout, "stop a client")
        except EngineCallError as error:
            if error.failure.kind in _HARMLESS_STOP_FAILURES:
                return
            # A client that may still run would be a second owner of its database, once it is started elsewhere.
            self.kill(f"it could not stop a client ({error})")
            raise EngineGoneError("the engine could not stop a client") from error
        await self.client.committed(self.engine_id, response.done.spooled)

    async def log_out_client(self, handle: str) -> None:
        """Unlink a device and stop its client; returns once its last event was delivered.

        Raises:
            EngineCallError: It is still linked, and its client runs.
            EngineGoneError: The engine died.
        """
        request = engine_pb2.ControlRequest(logout=engine_pb2.LogoutSession(handle=handle))
        response = await self.client.call(request)
        await self.client.committed(self.engine_id, response.done.spooled)

    async def import_spool(self, spool_id: str, path: str, after: int) -> None:
        """Deliver what a dead engine left; returns once the listener took all of it.

        Args:
            spool_id: The dead engine's spool.
            path: Its folder.
            after: Last position that the listener has.

        Raises:
            EngineCallError: The spool cannot be read.
            EngineGoneError: This engine died of it.
        """
        self.client.expect(spool_id, after)
        command = engine_pb2.ImportSpool(spool_id=spool_id, path=path, after=after)
        response = await self.client.call(engine_pb2.ControlRequest(import_spool=command))
        await self.client.committed(spool_id, response.done.spooled)

    async def settle(self) -> None:
        """Wait until no command is under way, within bounds: a message cut off now would have an open fate."""
        try:
            async with asyncio.timeout(self._config.settle_timeout):
                await self.client.idle()
        except TimeoutError:
            logger.warning("engine %s: commands are still under way; its clients are stopped now", self.engine_id)

    async def shut_down(self) -> None:
        """Let the engine end itself, all its events delivered; kill it if it then does not end.

        Raises:
            EngineGoneError: It died before its events were delivered.
        """
        self.planned = True
        request = engine_pb2.ControlRequest(shutdown=engine_pb2.Shutdown())
        try:
            response = await self._answer(request, self._config.stop_timeout, "shut down")
        except EngineCallError as error:
            self.kill(f"it refused to shut down ({error})")
            raise EngineGoneError("the engine refused to shut down") from error
        await self.client.committed(self.engine_id, response.done.spooled)
        self.drained = True
        await asyncio.wait([self.process.ended], timeout=self._config.exit_grace)
        if not self.process.ended.done():
            self.kill(f"it did not end within {self._config.exit_grace:g} s")

    async def ended(self) -> str:
        """Wait until the engine is dead, killing what hangs on after its streams ended; return why in words."""
        broken = asyncio.create_task(self.client.broken(), name=f"streams of engine {self.engine_id}")
        try:
            await asyncio.wait([self.process.ended, broken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken.cancel()
        await asyncio.wait([self.process.ended], timeout=self._config.exit_grace if self.planned else _STRAY)
        if not self.process.ended.done():
            self.kill("its streams ended and it did not")
        return await self.process.ended

    async def close(self) -> None:
        """End the process and the streams; returns when nothing is on its way to the listener any more."""
        self.process.kill()
        try:
            await self.client.close()
        finally:
            await self.process.close()

    async def _answer(
        self, request: engine_pb2.ControlRequest, seconds: float, task: str
    ) -> engine_pb2.ControlResponse:
        """Send a command that must not take long; an engine that does not answer is wedged, and killed."""
        try:
            async with asyncio.timeout(seconds):
                return await self.client.call(request)
        except TimeoutError as error:
            self.kill(f"it did not {task} within {seconds:g} s")
            raise EngineGoneError(f"the engine did not {task} in time") from error
