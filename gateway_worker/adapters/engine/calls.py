"""Commands to one engine, multiplexed on the Control stream."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

from grpc import aio

from gateway_worker.ports.engines import EngineCallError, EngineGoneError
from wagateway.engine.v1 import engine_pb2


class ControlCalls:
    """The commands under way on one Control stream.

    A command costs a future and no task: one writer empties a queue, one reader resolves the futures. Whoever waits may
    be cancelled at any time; a command that was not written by then never is.

    Args:
        stream: The open stream.
    """

    def __init__(self, stream: aio.StreamStreamCall[engine_pb2.ControlRequest, engine_pb2.ControlResponse]) -> None:
        self._stream = stream
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[engine_pb2.ControlResponse]] = {}
        self._outbox: deque[engine_pb2.ControlRequest] = deque()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = False

    async def call(self, request: engine_pb2.ControlRequest) -> engine_pb2.ControlResponse:
        """Send a command and return its answer.

        Args:
            request: The command. Its ``call_id`` is set here.

        Raises:
            EngineCallError: The answer is a failure.
            EngineGoneError: The stream ended before the answer.
        """
        if self._over:
            raise EngineGoneError("the engine is gone")
        request.call_id = call_id = next(self._ids)
        future: asyncio.Future[engine_pb2.ControlResponse] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        self._idle.clear()
        self._outbox.append(request)
        self._filled.set()
        try:
            response = await future
        finally:
            self._waiting.pop(call_id, None)
            if not self._waiting:
                self._idle.set()
        if response.HasField("failure"):
            raise EngineCallError(response.failure)
        return response

    async def idle(self) -> None:
        """Wait until no command is under way."""
        await self._idle.wait()

    async def write(self) -> None:
        """Write commands until cancelled or until the stream breaks. Raises grpc.aio.AioRpcError."""
        while True:
            while self._outbox:
                request = self._outbox.popleft()
                future = self._waiting.get(request.call_id)
                if future is not None and not future.done():
                    await self._stream.write(request)
            self._filled.clear()
            await self._filled.wait()

    async def read(self) -> None:
        """Hand answers to who waits for them until the stream ends. Raises grpc.aio.AioRpcError."""
        async for response in self._stream:
            future = self._waiting.get(response.call_id)
            if future is not None and not future.done():
                future.set_result(response)

    def fail(self) -> None:
        """Let every command under way, and every later one, raise EngineGoneError."""
        self._over = True
        self._outbox.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EngineGoneError("the engine died before it answered"))
