"""The worker's end of the two streams of one engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from grpc import aio

from gateway_worker.adapters.engine.backoff import Backoff
from gateway_worker.adapters.engine.calls import ControlCalls
from gateway_worker.adapters.engine.delivery import EventDelivery
from gateway_worker.adapters.engine.faults import log_fault
from gateway_worker.ports.engines import EngineGoneError, EngineListener
from wagateway.engine.v1 import engine_pb2, engine_pb2_grpc

logger = logging.getLogger(__name__)

T = TypeVar("T")

# An event is as large as WhatsApp made it, and refusing it would end the stream, the engine, and every engine that then
# imports its spool. The other end is our own child: it needs no limit.
_UNLIMITED = -1
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # connections to different engines have nothing in common
    ("grpc.initial_reconnect_backoff_ms", 20),  # the socket appears while gRPC already tries to connect
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
)
_LATE_ANSWERS = 0.5  # s that answers may still take to arrive after the process ended


class EngineClient:
    """Commands to and events from one engine. Made on the event loop that it lives on.

    Args:
        engine_id: The engine, also the id of its spool.
        socket: The Unix socket it listens on, now or soon.
        listener: Who takes the events.
        observe: Sees every spooled event once, before the listener does.
        backoff: Waits before events that were not taken are given again.

    Attributes:
        health: The engine's last report.
        heard: Number of messages that came on the stream of events.
        listening: Whether the next of them is waited for; False while the listener holds the stream up.
    """

    def __init__(
        self,
        engine_id: str,
        socket: Path,
        listener: EngineListener,
        observe: Callable[[Sequence[engine_pb2.EngineEvent]], None],
        backoff: Backoff,
    ) -> None:
        self.health = engine_pb2.EngineHealth()
        self.heard = 0
        self.listening = False
        self._engine_id = engine_id
        self._listener = listener
        self._channel = aio.insecure_channel(f"unix:{socket}", options=_CHANNEL_OPTIONS)
        stub: engine_pb2_grpc.EngineServiceAsyncStub = engine_pb2_grpc.EngineServiceStub(self._channel)
        self._calls = ControlCalls(stub.Control(wait_for_ready=True))
        self._events = stub.Events(wait_for_ready=True)
        self._delivery = EventDelivery(listener, self._acknowledge, observe, backoff)
        self._delivery.begin(engine_id, 0)
        self._ready = asyncio.Event()
        self._broken = asyncio.Event()
        self._answers = self._spawn(self._calls.read(), "answers")
        self._others = [
            self._spawn(self._calls.write(), "commands"),
            self._spawn(self._read_events(), "events"),
        ]
        self._delivering = self._spawn(self._delivery.run(), "delivery")

    async def ready(self) -> None:
        """Wait until the engine's first report arrived. Bound it by a timeout: the engine may never come up.

        Raises:
            EngineGoneError: The streams broke before.
        """
        await self._ready.wait()
        if self._broken.is_set():
            raise EngineGoneError("the engine's streams broke")

    async def call(self, request: engine_pb2.ControlRequest) -> engine_pb2.ControlResponse:
        """Send a command and return its answer. Raises EngineCallError, EngineGoneError."""
        return await self._calls.call(request)

    async def idle(self) -> None:
        """Wait until no command is under way."""
        await self._calls.idle()

    def expect(self, spool_id: str, after: int) -> None:
        """Expect the events of an imported spool that follow a position."""
        self._delivery.begin(spool_id, after)

    async def committed(self, spool_id: str, position: int) -> None:
        """Wait until the listener has taken a spool up to and with ``position``. Raises EngineGoneError."""
        await self._delivery.committed(spool_id, position)

    async def broken(self) -> None:
        """Wait until one of the streams ended."""
        await self._broken.wait()

    async def close(self) -> None:
        """Fail the commands under way, finish the call to the listener that is under way, and close the streams.

        To be called when the process is gone: its last answers may still be in the socket and are waited for.
        """
        try:
            await asyncio.wait([self._answers], timeout=_LATE_ANSWERS)
            self._calls.fail()
            self._delivery.end()
            await asyncio.wait([self._delivering])
        finally:
            tasks = [self._answers, *self._others, self._delivering]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._channel.close()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._guard(work, name), name=f"{name} of engine {self._engine_id}")

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a part of the client; its end, whatever the reason, breaks the client."""
        try:
            await work
        except (aio.AioRpcError, asyncio.InvalidStateError) as error:
            logger.debug("engine %s: the stream of %s ended: %s", self._engine_id, name, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a fault here costs this engine; its spool keeps the events
            log_fault(f"engine {self._engine_id}: {name} failed", error)
        finally:
            self._broken.set()
            self._ready.set()

    async def _read_events(self) -> None:
        await self._events.write(engine_pb2.EventsRequest(spool_id=self._engine_id))
        self.listening = True
        async for batch in self._events:
            self.listening = False
            self.heard += 1
            self._ready.set()
            if batch.HasField("health"):
                self.health = batch.health
                self._tell(self._listener.on_health, batch.health)
            if batch.events:
                await self._take(batch)
            self.listening = True

    async def _take(self, batch: engine_pb2.EventsResponse) -> None:
        spooled = [event for event in batch.events if event.position]
        if len(spooled) < len(batch.events):
            for event in batch.events:
                if not event.position:
                    self._tell(self._listener.on_ephemeral, event)
        if spooled:
            await self._delivery.put(batch.spool_id, spooled)

    def _tell(self, callback: Callable[[T], None], value: T) -> None:
        """Tell the listener what nobody keeps; a fault of its own must not end the stream."""
        try:
            callback(value)
        except Exception as error:  # noqa: BLE001 - see above
            log_fault(f"engine {self._engine_id}: a report was not taken", error)

    async def _acknowledge(self, spool_id: str, position: int) -> None:
        """Tell the engine that it may forget events."""
        with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):  # the readers see the same end
            await self._events.write(engine_pb2.EventsRequest(spool_id=spool_id, position=position))
