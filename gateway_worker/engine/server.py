"""The engine's two streams, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

import grpc
from grpc import aio

from gateway_worker.engine.commands import Commands
from gateway_worker.engine.pump import Pump
from wagateway.engine.v1 import engine_pb2, engine_pb2_grpc

logger = logging.getLogger(__name__)

_LAST_ANSWERS: Final = 6.0
"""Seconds that sends in flight get at the end: a client that is disconnected gives one up after 5."""

_LAST_EVENTS: Final = 2.0


class EngineServicer(engine_pb2_grpc.EngineServiceServicer):
    """Serves the worker.

    Args:
        commands: Carries commands out.
        pump: Delivers events.
    """

    def __init__(self, commands: Commands, pump: Pump) -> None:
        self.ending = asyncio.Event()
        """Set when the engine is to end: told to, or because the worker's command stream ended."""
        self._commands = commands
        self._pump = pump
        self._controlled = False
        self._answering: set[asyncio.Task[None]] = set()
        self._control_over = asyncio.Event()

    async def Control(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[engine_pb2.ControlRequest],
        context: aio.ServicerContext[engine_pb2.ControlRequest, engine_pb2.ControlResponse],
    ) -> AsyncIterator[engine_pb2.ControlResponse]:
        """Carry out commands side by side; the end of the stream is the end of the engine."""
        if self._controlled:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "an engine has one command stream in its life")
        self._controlled = True
        answers: asyncio.Queue[engine_pb2.ControlResponse | None] = asyncio.Queue()
        reading = asyncio.create_task(self._read(request_iterator, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            reading.cancel()
            logger.info("the command stream ended")
            self._control_over.set()
            self.ending.set()

    async def Events(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[engine_pb2.EventsRequest],
        context: aio.ServicerContext[engine_pb2.EventsRequest, engine_pb2.EventsResponse],
    ) -> AsyncIterator[engine_pb2.EventsResponse]:
        """Deliver events from the position that the first request names."""
        first = await anext(request_iterator, None)
        if first is None or first.spool_id != self._pump.spool_id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request names the engine's own spool")
        acknowledging = asyncio.create_task(self._acknowledge(request_iterator))
        try:
            async for response in self._pump.stream(first.position):
                yield response
        finally:
            acknowledging.cancel()

    async def finish(self) -> None:
        """Wait until what is under way came to its end, for as long as is reasonable."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=_LAST_ANSWERS)
        try:
            async with asyncio.timeout(_LAST_EVENTS):
                while not (self._control_over.is_set() or self._pump.is_drained):  # noqa: ASYNC110 - two conditions
                    await asyncio.sleep(0.02)
        except TimeoutError:
            logger.warning("the worker did not take the last events; they stay in the spool")

    async def _read(
        self,
        requests: AsyncIterator[engine_pb2.ControlRequest],
        answers: asyncio.Queue[engine_pb2.ControlResponse | None],
    ) -> None:
        try:
            async for request in requests:
                task = asyncio.create_task(self._answer(request, answers))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
        finally:
            answers.put_nowait(None)

    async def _answer(
        self, request: engine_pb2.ControlRequest, answers: asyncio.Queue[engine_pb2.ControlResponse | None]
    ) -> None:
        answers.put_nowait(await self._commands.answer(request))
        if request.WhichOneof("command") == "shutdown":
            self.ending.set()

    async def _acknowledge(self, requests: AsyncIterator[engine_pb2.EventsRequest]) -> None:
        async for request in requests:
            try:
                self._pump.acknowledge(request.spool_id, request.position)
            except OSError:  # the events are known to be safe; what is left over goes with a later acknowledgement
                logger.exception("acknowledged events could not be deleted")
