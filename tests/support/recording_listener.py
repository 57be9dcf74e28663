"""A listener of engines that keeps what it is told, and fails where a test wants it to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from wagateway.engine.v1 import engine_pb2

_PATIENCE = 20.0  # s


class RecordingListener:
    """Takes events as a journal would: all of a call or none, and the position with them.

    Attributes:
        events: Every event that was taken, with its spool, in order.
        ephemeral: Events that are not spooled.
        reports: Reports of health.
        lost: Calls of ``on_clients_lost``: handles, planned, and how many events were taken before.
        forgotten: Spools that are gone.
        failures: Raised by the next calls of ``on_events``, one each; ``None`` lets a call through.
        positions: Last position of each spool.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, engine_pb2.EngineEvent]] = []
        self.ephemeral: list[engine_pb2.EngineEvent] = []
        self.reports: list[engine_pb2.EngineHealth] = []
        self.lost: list[tuple[list[str], bool, int]] = []
        self.forgotten: list[str] = []
        self.failures: deque[Exception | None] = deque()
        self.positions: dict[str, int] = {}
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def on_events(self, spool_id: str, events: Sequence[engine_pb2.EngineEvent]) -> None:
        """Take events once the gate is open, or fail."""
        await self.gate.wait()
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
        self.sizes.append(len(events))
        self.events.extend((spool_id, event) for event in events)
        self.positions[spool_id] = events[-1].position

    def on_ephemeral(self, event: engine_pb2.EngineEvent) -> None:
        """Keep an event."""
        self.ephemeral.append(event)

    def on_health(self, health: engine_pb2.EngineHealth) -> None:
        """Keep a report."""
        self.reports.append(health)

    def on_clients_lost(self, handles: Sequence[str], *, planned: bool) -> None:
        """Keep who was lost, and when."""
        self.lost.append((list(handles), planned, len(self.events)))

    async def spool_position(self, spool_id: str) -> int:
        """Position of the last event that was taken."""
        return self.positions.get(spool_id, 0)

    async def on_spool_gone(self, spool_id: str) -> None:
        """Forget a spool's position."""
        self.positions.pop(spool_id, None)
        self.forgotten.append(spool_id)

    def kinds(self, handle: str) -> list[str]:
        """Kinds of the events of a client, in order."""
        return [str(event.WhichOneof("kind")) for _, event in self.events if event.handle == handle]

    def texts(self, handle: str) -> list[str]:
        """Texts of the messages of a client, in order."""
        return [
            event.message.message.content.text.text
            for _, event in self.events
            if event.handle == handle and event.HasField("message")
        ]


async def until(condition: Callable[[], object], seconds: float = _PATIENCE) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
