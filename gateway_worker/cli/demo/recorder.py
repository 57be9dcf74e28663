"""The stream of events, recorded, so that scenes can wait for what they announced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager

from grpc import aio

from gateway_worker.cli.demo.errors import DemoError
from gateway_worker.cli.refusals import refusal
from wagateway.worker.v1 import event_pb2, worker_pb2, worker_pb2_grpc


class EventRecorder:
    """Reads SessionEvents from the earliest event on, and keeps everything.

    Attributes:
        events: All events so far, in the order of the stream.
    """

    def __init__(self) -> None:
        self.events: list[event_pb2.Event] = []
        self._changed = asyncio.Event()
        self._broken = ""
        self._opened = asyncio.Event()

    @asynccontextmanager
    async def recording(self, api: worker_pb2_grpc.WorkerServiceAsyncStub) -> AsyncGenerator[None, None]:
        """Record while the context lasts; entered once the worker has answered the call."""
        reading = asyncio.create_task(self._read(api), name="demo's event stream")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def wait_for(
        self, what: str, matches: Callable[[event_pb2.Event], bool], *, since: int = 0, timeout_seconds: float = 20
    ) -> event_pb2.Event:
        """Return the first event that matches.

        Args:
            what: What is waited for, for the error: "the session is connected".
            matches: Says whether an event is the one.
            since: How many events to leave out from the start, as :attr:`events` counts them.
            timeout_seconds: How long to wait.

        Raises:
            DemoError: It did not come in time, or the stream broke.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    for event in self.events[since:]:
                        if matches(event):
                            return event
                    since = len(self.events)
                    if self._broken:
                        raise DemoError(f"the stream of events broke while waiting: {what}", hint=self._broken)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = ", ".join(event.WhichOneof("kind") or "?" for event in self.events[-5:])
            raise DemoError(
                f"waited {timeout_seconds:g} s in vain: {what}", hint=f"the last events on the stream: {seen or 'none'}"
            ) from None

    def durable(self) -> Iterator[event_pb2.Event]:
        """Iterate over the events that have a sequence."""
        return (event for event in self.events if event.sequence)

    def holes(self) -> int:
        """Count the numbers that are missing in the sequence, which starts with 1 for each session."""
        numbers: dict[str, set[int]] = {}
        for event in self.durable():
            numbers.setdefault(event.session_id, set()).add(event.sequence)
        return sum(max(seen) - len(seen) for seen in numbers.values())

    def repeats(self) -> int:
        """Count the events whose number came before."""
        keys = [(event.session_id, event.sequence) for event in self.durable()]
        return len(keys) - len(set(keys))

    async def _read(self, api: worker_pb2_grpc.WorkerServiceAsyncStub) -> None:
        request = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)
        try:
            async for response in api.SessionEvents(request):
                if response.HasField("event"):
                    self.events.append(response.event)
                    self._changed.set()
            self._broken = "the worker ended it"
        except aio.AioRpcError as error:
            self._broken = refusal(error).message
        self._changed.set()
