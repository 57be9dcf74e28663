"""What is measured: simulator, worker with linked sessions, bare neonize clients; each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypeVar

from tests.bench.yardsticks import Yardstick
from tests.support.api import (
    EventFollower,
    LinkedSession,
    SimulatorControl,
    WorkerApi,
    link_session,
    simulator_control,
    worker_api,
)
from tests.support.processes import RunningSimulator, RunningWorker, running_simulator, running_worker
from wagateway.worker.v1 import worker_pb2

_LINKED_AT_ONCE: Final = 4
_QUIET: Final = 0.5  # s without an event after which nothing is under way any more
_SETTLED: Final = 30.0  # s in which everything under way must have arrived

FROM_NOW: Final = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_NOW)
"""Asks for everything that happens from now on."""

Narrator = Callable[[str], None]


class World:
    """One simulator, one worker and its sessions; grows on demand and serves all scenarios.

    Made by :func:`world`.

    Attributes:
        directory: Everything that is written goes here.
        simulator: The simulator.
        control: Its control API.
        narrate: Tells people what is being done.
    """

    def __init__(
        self, directory: Path, simulator: RunningSimulator, control: SimulatorControl, narrate: Narrator
    ) -> None:
        self.directory = directory
        self.simulator = simulator
        self.control = control
        self.narrate = narrate
        self.data_dir = directory / "data"
        self._sessions: list[LinkedSession] = []
        self._worker: RunningWorker | None = None
        self._api: WorkerApi | None = None
        self._events: EventFollower | None = None
        self._life = AsyncExitStack()
        self._bare = AsyncExitStack()
        self._yardsticks: dict[type[Yardstick], Yardstick] = {}

    @property
    def worker(self) -> RunningWorker:
        """The running worker."""
        return _there(self._worker)

    @property
    def api(self) -> WorkerApi:
        """Its API."""
        return _there(self._api)

    @property
    def events(self) -> EventFollower:
        """Follows every event of every session, as a backend would."""
        return _there(self._events)

    async def start_worker(self) -> None:
        """Start the worker and follow its events."""
        async with AsyncExitStack() as stack:
            self._worker = await stack.enter_async_context(
                running_worker(data_dir=self.data_dir, simulator=self.simulator, log_directory=self.directory)
            )
            self._api = await stack.enter_async_context(worker_api(self._worker.target))
            self._events = await stack.enter_async_context(EventFollower(self._api, FROM_NOW))
            self._life = stack.pop_all()

    async def stop_worker(self) -> None:
        """Drain the worker; its sessions stay linked."""
        await self._life.aclose()
        self._worker = self._api = self._events = None

    async def sessions(self, count: int) -> list[LinkedSession]:
        """Link sessions until there are so many, all of them connected.

        Raises:
            ValueError: There are more already: scenarios must run in the order of their sizes.
        """
        if len(self._sessions) > count:
            raise ValueError(f"{len(self._sessions)} sessions are linked already, {count} were asked for")
        if self._worker is None:
            await self.start_worker()
        missing = range(len(self._sessions), count)
        if missing:
            self.narrate(f"linking {len(missing)} sessions through the API")
        slots = asyncio.Semaphore(_LINKED_AT_ONCE)

        async def link(number: int) -> LinkedSession:
            async with slots:
                return await link_session(self.api, self.control, self.events, f"s{number:03d}")

        self._sessions += await asyncio.gather(*(link(number) for number in missing))
        return list(self._sessions)

    async def yardstick(self, kind: type[Yardstick], count: int) -> Yardstick:
        """Clients without a gateway, linked until there are so many."""
        if kind not in self._yardsticks:
            self._yardsticks[kind] = await self._bare.enter_async_context(
                kind(self.simulator, self.control, self.directory / kind.name)
            )
        self.narrate(f"linking up to {count} clients of the yardstick {kind.name}")
        await self._yardsticks[kind].grow(count)
        return self._yardsticks[kind]

    async def stop_yardsticks(self) -> None:
        """End the clients without a gateway: they are not part of what follows."""
        await self._bare.aclose()
        self._yardsticks.clear()

    async def settle(self) -> None:
        """Wait until no event comes any more, so that one measurement does not pay for the one before.

        Raises:
            TimeoutError: They go on and on.
        """
        async with asyncio.timeout(_SETTLED):
            mark = -1
            while mark != self.events.mark:
                mark = self.events.mark
                await asyncio.sleep(_QUIET)

    def explain(self, error: Exception) -> None:
        """Add the end of the worker's log to an error."""
        if self._worker is not None:
            self._worker.explain(error)

    async def close(self) -> None:
        """End everything."""
        try:
            await self.stop_yardsticks()
        finally:
            await self.stop_worker()


T = TypeVar("T")


def _there(thing: T | None) -> T:
    if thing is None:
        raise RuntimeError("the worker is not running")
    return thing


@contextlib.asynccontextmanager
async def world(directory: Path, narrate: Narrator) -> AsyncIterator[World]:
    """Start a simulator for a world; the rest comes on demand.

    Args:
        directory: An empty folder.
        narrate: Tells people what is being done.
    """
    async with running_simulator(directory) as simulator, simulator_control(simulator.target) as control:
        made = World(directory, simulator, control, narrate)
        try:
            yield made
        except Exception as error:
            made.explain(error)
            raise
        finally:
            await made.close()
