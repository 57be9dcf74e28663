"""Tasks that belong to somebody: named, kept alive, ended together, never failing unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway_worker.ports.engines import EngineCallError, EngineGoneError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class TaskSet:
    """Tasks that concern each other only in that they end with their owner.

    A task group would end all of them with the first failure; here one engine's failure is no other's.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run ``work`` on a task of its own."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def run(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run ``work`` and return its result; a caller that is cancelled leaves it running.

        Raises:
            EngineGoneError: The owner ended the task.
        """
        task = self.spawn(work, name)
        await asyncio.wait([task])
        if task.cancelled():
            raise EngineGoneError("the engine pool was closed")
        return task.result()

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it ended. Not to be called from one of the tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, (EngineGoneError, EngineCallError)):
            logger.error("%s failed", task.get_name(), exc_info=error)
