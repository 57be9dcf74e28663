"""Tasks that outlive the call they were started by, owned by one keeper."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway_worker.domain.errors import GatewayError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class TaskKeeper:
    """Owns tasks: none is lost, none fails unseen, all end with :meth:`close`.

    Unlike in an ``asyncio.TaskGroup``, the failure of one does not cancel the others: they serve different sessions.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task and keep it until it ends."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        # An error for the client is told by whoever awaits the task; if nobody does any more it is of no interest.
        if error is not None and not isinstance(error, GatewayError):
            logger.error("task %s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
