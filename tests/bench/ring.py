"""Sessions that send to each other in a ring, each one call after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.latency import arrivals
from tests.bench.run import TEXT, Run
from tests.bench.world import World
from tests.support.api import LinkedSession
from wagateway.worker.v1 import worker_pb2


@dataclass(frozen=True, slots=True)
class Leg:
    """One session's part of a ring.

    Attributes:
        session_id: The session that sends.
        to: Phone number that it sends to.
    """

    session_id: str
    to: str


def legs(sessions: Sequence[LinkedSession], senders: int) -> list[Leg]:
    """The ring's legs: each session sends to the next, the last to the first.

    Args:
        sessions: All of them, at least 2.
        senders: How many of them send.
    """
    return [
        Leg(session.session_id, f"+{sessions[(index + 1) % len(sessions)].number}")
        for index, session in enumerate(sessions[:senders])
    ]


async def run_ring(world: World, ring: Sequence[Leg], messages: int) -> Run:
    """Let each leg send so many messages through the API, and wait until all have arrived.

    Raises:
        LostMessagesError: Not all arrived in time.
        grpc.aio.AioRpcError: A send was refused.
    """
    since = world.events.mark
    latencies: list[float] = []

    async def send(leg: Leg) -> None:
        request = worker_pb2.SendTextRequest(session_id=leg.session_id, to=leg.to)
        request.text.text = TEXT
        for _ in range(messages):
            before = time.perf_counter()
            await world.api.SendText(request)
            latencies.append(1000 * (time.perf_counter() - before))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for leg in ring:
            group.create_task(send(leg))
    seconds = time.perf_counter() - started
    await arrivals(world.events, lambda _: True, len(latencies), since=since)
    return Run.of(latencies, seconds)
