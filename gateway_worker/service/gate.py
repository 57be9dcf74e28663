"""Counts the calls under way, so that there are never too many and none is forgotten at the end."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.message import Message

from gateway_worker.domain.errors import DrainingError
from gateway_worker.service.errors import TooManyCallsError
from gateway_worker.service.interceptors import Context, Handler, Method


class CallGate:
    """Lets calls in, up to a limit and until it is closed.

    gRPC has a limit of its own, but answers beyond it without a reason, and counts health checks too, so that a worker
    with much to do would look dead. It also returns from ``stop`` before cancelled handlers have run their ``finally``.

    Args:
        limit: How many calls at once, open event streams included.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._closed = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """How many calls are being served."""
        return self._under_way

    def close(self) -> None:
        """Refuse calls from now on with WORKER_DRAINING. Those under way go on."""
        self._closed = True

    async def wait_idle(self, limit: float) -> bool:
        """Wait until no call is under way, at most ``limit`` seconds; return whether none is."""
        try:
            async with asyncio.timeout(limit):
                await self._idle.wait()
        except TimeoutError:
            return self._under_way == 0
        return True

    def intercept(self, method: Method, proceed: Handler) -> Handler:  # noqa: ARG002 - the same for every method
        """See :class:`~gateway_worker.service.interceptors.Interceptor`."""

        async def handle(request: Any, context: Context) -> Message | None:
            self._enter()
            try:
                return await proceed(request, context)
            finally:
                self._leave()

        return handle

    def _enter(self) -> None:
        if self._closed:
            raise DrainingError
        if self._under_way >= self._limit:
            raise TooManyCallsError
        self._under_way += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()
