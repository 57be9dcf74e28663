"""The pool of engines: the adapter behind the port ``Engines``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gateway_worker.adapters.engine.clients import Clients
from gateway_worker.adapters.engine.config import MIB, EngineConfig
from gateway_worker.adapters.engine.engine import Engine
from gateway_worker.adapters.engine.fleet import Fleet, Verdict, judge
from gateway_worker.adapters.engine.importer import SpoolImporter
from gateway_worker.adapters.engine.launcher import EngineLauncher
from gateway_worker.adapters.engine.placement import Role
from gateway_worker.adapters.engine.spools import SpoolDirectory
from gateway_worker.adapters.engine.tasks import TaskSet
from gateway_worker.ports.engines import ClientSpec, EngineGoneError, EngineListener
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_LAST_CALL = 2.0  # s that a call to the listener may take while the pool is closed by force


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """An engine as operators see it.

    Attributes:
        engine_id: Its id.
        role: ``session`` or ``pairing``.
        pid: Its process.
        clients: Handles of the clients in it.
        takes_clients: Whether new clients may be placed in it.
        health: Its last report.
    """

    engine_id: str
    role: str
    pid: int
    clients: tuple[str, ...]
    takes_clients: bool
    health: engine_pb2.EngineHealth


class EnginePool:
    """Engines that are started on demand, watched, replaced when they die or leak, and drained at the end.

    Linked clients share session engines; clients that are not linked yet live in a pairing engine, which is disposable.
    When an engine dies its spool is delivered by a fresh one, and only then is the core told that the clients are gone.

    ``start``, ``stop`` and ``logout`` go on when their caller is cancelled; :meth:`is_live` tells what came of them.

    Used as an async context manager: entering checks the configuration and starts no engine, leaving drains.

    Args:
        config: Program, limits and times.
        listener: Who is told what happens.

    Raises:
        OSError: On entering: a folder cannot be made.
        SimulatorFileError: On entering: the simulator's file is not usable.
    """

    def __init__(self, config: EngineConfig, listener: EngineListener) -> None:
        self._config = config
        self._listener = listener
        self._tasks = TaskSet()
        self._spools = SpoolDirectory(config.spool_directory)
        self._clients = Clients(config, self._room, self._tasks, self._tell_lost)
        self._launcher = EngineLauncher(config, self._spools, listener, self._clients.observe)
        self._fleet = Fleet(config, self._launcher, self._tasks, self._bury)
        self._importer = SpoolImporter(
            config,
            self._spools,
            listener,
            engine=self._fresh,
            release=self._fleet.release,
            wait=lambda: self._launcher.wait,
        )
        self._recovery: asyncio.Task[None] | None = None
        self._recycling = asyncio.Lock()
        self._draining = False

    async def __aenter__(self) -> Self:
        self._spools.prepare()
        self._launcher.open()
        self._tasks.spawn(self._keep_house(), "housekeeping of the engine pool")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.drain()
        finally:
            await self._close()

    async def recover_spools(self) -> None:
        """Import what a dead worker's engines left. No client is started before; may be called at any time, and again.

        Waits as long as the store or the engines need; a spool that cannot be read is renamed to ``ID.broken``.
        """
        if self._recovery is None:
            self._recovery = self._tasks.spawn(self._importer.recover(), "recovery of spools")
        await asyncio.wait([self._recovery])

    async def start(self, spec: ClientSpec) -> None:
        """Start a client; see :meth:`Engines.start`."""
        await self._tasks.run(self._start(spec), f"start of {spec.handle}")

    async def stop(self, handle: str) -> None:
        """Stop a client; see :meth:`Engines.stop`."""
        await self._clients.stop(handle)

    async def send(self, command: engine_pb2.SendMessage) -> engine_pb2.Sent:
        """Send a message; see :meth:`Engines.send`."""
        engine = self._clients.live(command.handle)
        response = await engine.client.call(engine_pb2.ControlRequest(send=command))
        return response.sent

    async def chat_presence(self, command: engine_pb2.SendChatPresence) -> None:
        """Show typing, or stop it; see :meth:`Engines.chat_presence`."""
        engine = self._clients.live(command.handle)
        await engine.client.call(engine_pb2.ControlRequest(chat_presence=command))

    async def presence(self, command: engine_pb2.SendPresence) -> None:
        """Come online or go offline; see :meth:`Engines.presence`."""
        engine = self._clients.live(command.handle)
        await engine.client.call(engine_pb2.ControlRequest(presence=command))

    async def logout(self, handle: str) -> None:
        """Unlink the device and stop its client; see :meth:`Engines.logout`."""
        await self._tasks.run(self._clients.log_out(handle), f"logout of {handle}")

    async def pair_phone(self, command: engine_pb2.PairPhone) -> str:
        """Ask for a pairing code; see :meth:`Engines.pair_phone`."""
        engine = self._clients.live(command.handle)
        response = await engine.client.call(engine_pb2.ControlRequest(pair_phone=command))
        return response.pairing_code.code

    def is_live(self, handle: str) -> bool:
        """Whether a client runs under this handle."""
        placement = self._clients.find(handle)
        return placement is not None and placement.live

    def is_linking_engine(self, handle: str) -> bool:
        """Whether the client is in a pairing engine."""
        placement = self._clients.find(handle)
        return placement is not None and placement.engine is not None and placement.engine.role is Role.PAIRING

    def engines(self) -> list[EngineStatus]:
        """The running engines, oldest first."""
        return [
            EngineStatus(
                engine_id=engine.engine_id,
                role=engine.role.value,
                pid=engine.process.pid,
                clients=tuple(engine.placements),
                takes_clients=engine.takes_clients,
                health=engine.client.health,
            )
            for engine in self._fleet.engines
        ]

    async def recycle(self, engine_id: str) -> None:
        """Stop all clients of an engine and end it; returns once the core was told to start them elsewhere.

        Raises:
            KeyError: No engine has this id.
        """
        engine = next((engine for engine in self._fleet.engines if engine.engine_id == engine_id), None)
        if engine is None:
            raise KeyError(engine_id)
        await self._tasks.run(self._recycle(engine), f"recycling of engine {engine_id}")

    async def drain(self) -> None:
        """Stop all clients and engines, events delivered; what does not end in time is killed, its spool kept."""
        if self._draining:
            return
        self._draining = True
        ends = [
            self._tasks.spawn(self._end(engine), f"drain of engine {engine.engine_id}")
            for engine in self._fleet.engines
        ]
        if ends:
            _, late = await asyncio.wait(ends, timeout=self._config.drain_grace)
            if late:
                logger.error("%d engines did not end in time; they are killed, their spools are kept", len(late))

    async def _room(self, role: Role) -> Engine:
        self._refuse_when_draining()
        return await self._fleet.room(role)

    async def _fresh(self) -> Engine:
        self._refuse_when_draining()
        return await self._fleet.fresh()

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise EngineGoneError("the engine pool is shutting down")

    async def _start(self, spec: ClientSpec) -> None:
        try:
            async with asyncio.timeout(self._config.start_patience):
                await self.recover_spools()
        except TimeoutError as error:
            raise EngineGoneError("spools of an earlier run are still being imported") from error
        await self._clients.start(spec)

    async def _bury(self, engine: Engine, reason: str) -> None:
        """Do what is due when an engine is dead: tell it, deliver what it left, then free its clients' places."""
        clients = self._clients.lose(engine)
        if engine.planned:
            level = logging.ERROR if engine.process.failed else logging.INFO  # it tells so that events were lost
            logger.log(level, "engine %s ended: %s", engine.engine_id, reason)
        else:
            logger.error("engine %s died with %d clients: %s", engine.engine_id, clients, reason)
        try:
            await engine.close()
            if engine.drained or not engine.used:
                await self._importer.discard(engine.engine_id)
            elif not self._draining:
                await self._importer.import_spool(engine.engine_id)
        finally:
            self._clients.give_up(engine)

    def _tell_lost(self, handles: Sequence[str], planned: bool) -> None:  # noqa: FBT001 - a callback's signature
        if handles and not self._draining:
            self._listener.on_clients_lost(handles, planned=planned)

    async def _recycle(self, engine: Engine) -> None:
        async with self._recycling:  # one at a time: the others carry the load meanwhile
            health = engine.client.health
            logger.info(
                "engine %s is recycled: %d clients, %d MiB, %d of %d descriptors",
                engine.engine_id,
                engine.load,
                health.rss_bytes // MIB,
                health.descriptors,
                health.descriptor_limit,
            )
            await self._end(engine)

    async def _end(self, engine: Engine) -> None:
        """Empty an engine and shut it down; returns once it was buried."""
        engine.leaving = True
        try:
            await self._clients.clear(engine)
            await engine.shut_down()
        except EngineGoneError:
            logger.warning("engine %s died while it was emptied", engine.engine_id)
        await engine.gone.wait()

    async def _keep_house(self) -> None:
        """Look at every engine now and then, and do what is due."""
        while True:
            await asyncio.sleep(self._config.housekeeping_interval)
            now = asyncio.get_running_loop().time()
            for engine in list(self._fleet.engines):
                engine.look()
                self._execute(engine, judge(engine, self._config, now))

    def _execute(self, engine: Engine, verdict: Verdict) -> None:
        if verdict is Verdict.KILL:
            engine.kill(f"nothing was heard of it for {self._config.health_timeout:g} s")
        elif verdict is Verdict.CLOSE:
            engine.open = False
        elif verdict is Verdict.RETIRE:
            engine.open = False  # at once: nobody may be placed in it before the task runs
            engine.leaving = True
            self._tasks.spawn(self._end(engine), f"end of engine {engine.engine_id}")
        elif verdict is Verdict.RECYCLE:
            engine.open = False
            engine.leaving = True
            self._tasks.spawn(self._recycle(engine), f"recycling of engine {engine.engine_id}")

    async def _close(self) -> None:
        """End by force what drain left."""
        engines = list(self._fleet.engines)
        for engine in engines:
            engine.process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CALL):
                for engine in engines:
                    await engine.gone.wait()
        await self._tasks.aclose()
        self._launcher.close()
