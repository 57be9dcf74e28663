"""The engines that run: where a client finds room, and what happens when one ends."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.engine import Engine
from gateway_worker.adapters.engine.launcher import EngineLauncher
from gateway_worker.adapters.engine.placement import Role, choose
from gateway_worker.adapters.engine.tasks import TaskSet

logger = logging.getLogger(__name__)


class Verdict(Enum):
    """What housekeeping does with an engine."""

    KEEP = auto()
    CLOSE = auto()  # place no more clients in it
    RETIRE = auto()  # shut it down, it is empty
    RECYCLE = auto()  # stop its clients, shut it down, let them be started elsewhere
    KILL = auto()  # it is wedged


def judge(engine: Engine, config: EngineConfig, now: float) -> Verdict:
    """Decide what to do with an engine.

    Args:
        engine: The engine, just looked at.
        config: Limits.
        now: Time of the event loop.
    """
    if engine.silent_looks >= math.ceil(config.health_timeout / config.housekeeping_interval):
        return Verdict.KILL
    if engine.leaving or engine.imports:
        return Verdict.KEEP
    idle = config.pairing_idle if engine.role is Role.PAIRING else config.session_idle
    if not engine.load and (not engine.open or now - engine.idle_since >= idle):
        return Verdict.RETIRE
    if not engine.open or now - engine.born < config.recycle_min_age:
        return Verdict.KEEP
    health = engine.client.health
    leaking = (
        health.rss_bytes > config.recycle_rss_bytes
        or health.descriptors > health.descriptor_limit * config.recycle_descriptor_share > 0
    )
    if not leaking:
        return Verdict.KEEP
    # A linking under way is never cut off: the phone is in somebody's hand, and the engine empties itself soon.
    return Verdict.CLOSE if engine.role is Role.PAIRING else Verdict.RECYCLE


class Fleet:
    """The running engines.

    Args:
        config: Capacity.
        launcher: Starts new ones.
        tasks: Owner of the watches.
        bury: Does what is to be done when an engine is dead. Given the reason in words.
    """

    def __init__(
        self,
        config: EngineConfig,
        launcher: EngineLauncher,
        tasks: TaskSet,
        bury: Callable[[Engine, str], Awaitable[None]],
    ) -> None:
        self.engines: list[Engine] = []
        self._config = config
        self._launcher = launcher
        self._tasks = tasks
        self._bury = bury
        self._launching = asyncio.Lock()

    async def room(self, role: Role) -> Engine:
        """An engine with room for one more client, started if need be. Take the place before the next ``await``.

        Raises:
            EngineGoneError: None can be had now.
        """
        if engine := self._choose(role):
            return engine
        async with self._launching:  # whoever waited here may find room in the engine started for another
            return self._choose(role) or await self._launch(role)

    async def fresh(self) -> Engine:
        """An engine in which no client ever was, reserved for an import until :meth:`release`.

        Raises:
            EngineGoneError: None can be had now.
        """
        async with self._launching:
            unused = (engine for engine in self.engines if engine.open and not engine.used)
            engine = next(unused, None) or await self._launch(Role.SESSION)
            engine.imports += 1
            return engine

    def release(self, engine: Engine) -> None:
        """Give back an engine that was reserved."""
        engine.imports -= 1
        engine.idle_since = asyncio.get_running_loop().time()

    def _choose(self, role: Role) -> Engine | None:
        return choose(self.engines, role, self._config.clients_per_engine)

    async def _launch(self, role: Role) -> Engine:
        engine = await self._launcher.launch(role)
        self.engines.append(engine)
        self._tasks.spawn(self._watch(engine), f"watch over engine {engine.engine_id}")
        return engine

    async def _watch(self, engine: Engine) -> None:
        reason = await engine.ended()
        self.engines.remove(engine)
        engine.open = False
        engine.leaving = True
        self._launcher.died(engine)
        try:
            await self._bury(engine, reason)
        finally:
            engine.gone.set()
