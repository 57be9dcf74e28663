"""The clients in all engines: which one is where, and their way in and out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.engine import Engine, Phase, Placement
from gateway_worker.adapters.engine.placement import Role
from gateway_worker.adapters.engine.tasks import TaskSet
from gateway_worker.ports.engines import ClientSpec, EngineCallError, EngineGoneError
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)


class Clients:
    """The places of all clients.

    A place is taken from the moment a start is asked for until every event of the client was delivered. So no client
    is ever started while events of its former life are on their way, in whatever spool they are.

    Args:
        config: Limits and times.
        room: Finds an engine with room. Raises EngineGoneError.
        tasks: Owner of the stops, which go on when nobody waits for them any more.
        lost: Called with handles whose clients are gone with their engine, and whether that was planned.
    """

    def __init__(
        self,
        config: EngineConfig,
        room: Callable[[Role], Awaitable[Engine]],
        tasks: TaskSet,
        lost: Callable[[Sequence[str], bool], None],
    ) -> None:
        self._config = config
        self._lost = lost
        self._tasks = tasks
        self._room = room
        self._placements: dict[str, Placement] = {}

    def find(self, handle: str) -> Placement | None:
        """The place of a client, None when it has none."""
        return self._placements.get(handle)

    def live(self, handle: str) -> Engine:
        """The engine in which a client runs. Raises EngineCallError for a client that does not run."""
        placement = self._placements.get(handle)
        if placement is None or placement.engine is None or not placement.live:
            raise EngineCallError(engine_pb2.Failure(kind=engine_pb2.FAILURE_KIND_NOT_LIVE))
        return placement.engine

    async def start(self, spec: ClientSpec) -> None:
        """Start a client; does nothing when it is live. Raises EngineCallError, EngineGoneError."""
        try:
            async with asyncio.timeout(self._config.start_patience):
                await self._vacant(spec.handle)
        except TimeoutError as error:
            raise EngineGoneError("the client's former engine is not dealt with yet") from error
        if spec.handle in self._placements:
            return
        placement = self._placements[spec.handle] = Placement(spec.handle, spec.linked)
        try:
            engine = await self._room(Role.SESSION if spec.linked else Role.PAIRING)
        except BaseException:
            self._release(placement)
            raise
        placement.engine = engine
        engine.placements[spec.handle] = placement
        engine.used = True
        await self._start(placement, engine, spec)

    async def stop(self, handle: str) -> None:
        """Stop a client; returns once its events were delivered. Does nothing when it has no place."""
        while (placement := self._placements.get(handle)) is not None:
            if placement.phase is Phase.STARTING:
                await placement.started.wait()
            else:
                self._begin_stop(placement)
                await placement.released.wait()

    async def log_out(self, handle: str) -> None:
        """Unlink a device and stop its client. Raises EngineCallError, EngineGoneError."""
        engine = self.live(handle)
        placement = engine.placements[handle]
        await engine.log_out_client(handle)
        if placement.phase is Phase.RUNNING:
            self._release(placement)

    async def clear(self, engine: Engine) -> None:
        """Stop all clients of an engine, which takes no more; their places stay taken until :meth:`give_up`.

        Told at once, so that nobody hands them messages meanwhile.

        Raises:
            EngineGoneError: The engine died meanwhile.
        """
        engine.open = False
        for placement in list(engine.placements.values()):
            await placement.started.wait()
        moving = [placement for placement in engine.placements.values() if placement.phase is Phase.RUNNING]
        for placement in moving:
            placement.phase = Phase.MOVING
        self._lost([placement.handle for placement in moving if not placement.ended], True)  # noqa: FBT003
        await engine.settle()
        results = await asyncio.gather(
            *(engine.stop_client(placement.handle) for placement in moving), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def lose(self, engine: Engine) -> int:
        """The engine is dead: none of its clients is live any more. Told at once. Returns how many it had."""
        gone = []
        for placement in engine.placements.values():
            if placement.live:
                gone.append(placement.handle)
            if placement.phase in (Phase.RUNNING, Phase.STARTING):
                placement.phase = Phase.LOST
            placement.started.set()
        self._lost(gone, engine.planned)
        return engine.load

    def give_up(self, engine: Engine) -> None:
        """All events of a dead engine were delivered: free its places, so that its clients may be started again."""
        for placement in list(engine.placements.values()):
            self._release(placement)

    def observe(self, events: Sequence[engine_pb2.EngineEvent]) -> None:
        """Take note of clients that ended by themselves, and of those that were linked."""
        for event in events:
            if event.HasField("client_ended"):
                placement = self._placements.get(event.handle)
                if placement is not None:
                    placement.ended = True
            elif event.HasField("paired"):
                placement = self._placements.get(event.handle)
                if placement is not None:
                    placement.linked = True

    async def _vacant(self, handle: str) -> None:
        """Return once the handle is free, or the client lives."""
        while (placement := self._placements.get(handle)) is not None and not placement.live:
            if placement.phase is Phase.STARTING:
                await placement.started.wait()
            else:
                self._begin_stop(placement)  # one that ended by itself still has its place
                await placement.released.wait()

    async def _start(self, placement: Placement, engine: Engine, spec: ClientSpec) -> None:
        try:
            await engine.start_client(spec)
        except EngineCallError:
            placement.phase = Phase.RUNNING
            self._begin_stop(placement)  # it may have told more about the refusal: that is delivered first
            await placement.released.wait()
            raise
        except BaseException:
            if placement.phase is Phase.STARTING:
                placement.phase = Phase.LOST
            raise
        finally:
            placement.started.set()
        if placement.phase is not Phase.STARTING:
            raise EngineGoneError("the engine died just after it started the client")
        placement.phase = Phase.RUNNING
        placement.ran = True

    def _begin_stop(self, placement: Placement) -> None:
        """Stop a client that runs or ended by itself; its place is released when its events were delivered."""
        if placement.phase is Phase.RUNNING and placement.engine is not None:
            placement.phase = Phase.STOPPING
            self._tasks.spawn(self._stop(placement, placement.engine), f"stop of {placement.handle}")

    async def _stop(self, placement: Placement, engine: Engine) -> None:
        try:
            await engine.stop_client(placement.handle)
        except EngineGoneError:
            return  # the place is released when the dead engine's spool was delivered
        self._release(placement)

    def _release(self, placement: Placement) -> None:
        self._placements.pop(placement.handle, None)
        placement.started.set()
        placement.released.set()
        engine = placement.engine
        if engine is None:
            return
        engine.placements.pop(placement.handle, None)
        engine.idle_since = asyncio.get_running_loop().time()
        if engine.role is Role.PAIRING and placement.ran and not placement.linked:
            engine.abandoned += 1
            if engine.open and engine.abandoned >= self._config.abandoned_linkings:
                engine.open = False
                logger.info(
                    "engine %s: %d linkings were abandoned; it takes no more", engine.engine_id, engine.abandoned
                )
