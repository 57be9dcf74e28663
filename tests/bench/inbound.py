"""Latency of arriving messages, from neonize's callback to the client, at a constant rate."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.bench.costs import Costs
from tests.bench.figures import Aim, Figure, percentile
from tests.bench.ring import LostMessagesError
from tests.bench.spools import SpoolKeeper
from tests.bench.world import World
from wagateway.simulator.v1 import simulator_pb2

_ARRIVED: Final = 30.0  # s that the last messages may take to arrive
_POLL: Final = 0.05  # s
_WARM_UP: Final = 2  # messages a session, which open the Signal session


async def measure_inbound(world: World, *, connected: int, rate: float, seconds: float) -> list[Figure]:
    """Let contacts write to the sessions at a constant rate, and take the time of each message's way.

    The clock of the way starts in neonize's callback (see :mod:`tests.bench.spools`) and stops where the client has
    read the event off its stream.

    Args:
        world: The world; it gets ``connected`` sessions.
        connected: Sessions that are connected, each with a contact that writes to it.
        rate: Messages a second, all contacts together.
        seconds: How long.
    """
    sessions = await world.sessions(connected)
    contacts = [(await world.control.AddContact(simulator_pb2.AddContactRequest())).contact.number for _ in sessions]
    pairs = list(zip(contacts, (session.number for session in sessions), strict=True))
    for _ in range(_WARM_UP):
        await asyncio.gather(*(_say(world, contact, phone) for contact, phone in pairs))
    await world.settle()
    world.narrate(f"contacts write {rate:g} messages a second to {connected} sessions for {seconds:g} s")
    keeper = SpoolKeeper(world.data_dir, world.directory / "spools")
    since = world.events.mark
    costs = Costs.of_gateway(world)
    async with keeper.keeping():
        with costs.counted():
            said = await _say_steadily(world, pairs, rate, int(rate * seconds))
            arrived = await _arrival(world, since, said)
    called_back = keeper.message_times()
    ways_ms = [(arrived[message_id] - called_back[message_id]) / 1e6 for message_id in said]
    first, *_, last = sorted(called_back[message_id] for message_id in said)
    return [
        Figure(
            "inbound_events_per_s", "messages that neonize handed over", 1e9 * (len(said) - 1) / (last - first), "/s"
        ),
        Figure("inbound_p50_ms", "half of them at the client within", percentile(ways_ms, 0.5), "ms", Aim("≤", 5)),
        Figure("inbound_p99_ms", "99 % of them at the client within", percentile(ways_ms, 0.99), "ms", Aim("≤", 25)),
        Figure("inbound_max_ms", "the slowest", max(ways_ms), "ms"),
        *(
            Figure(f"{role}_cpu_ms_per_inbound", f"CPU a message: {role}", 1000 * used / len(said), "ms")
            for role, used in costs.seconds.items()
        ),
    ]


async def _say(world: World, contact: str, phone: str) -> str:
    request = simulator_pb2.SayRequest(contact=contact, phone=phone, text="hello from a contact")
    return (await world.control.Say(request)).id


async def _say_steadily(world: World, pairs: list[tuple[str, str]], rate: float, count: int) -> list[str]:
    """Say at a constant rate, whether or not earlier ones are done; returns the message ids."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
            contact, phone = pairs[number % len(pairs)]
            tasks.append(group.create_task(_say(world, contact, phone)))
    return [task.result() for task in tasks]


async def _arrival(world: World, since: int, expected: list[str]) -> dict[str, int]:
    """Wait until all have arrived; returns the time of each, Unix nanoseconds.

    Raises:
        LostMessagesError: Not all arrived in time.
    """
    missing = set(expected)
    try:
        async with asyncio.timeout(_ARRIVED):
            while True:
                times = {
                    arrival.event.message.id: arrival.time_ns
                    for arrival in world.events.arrivals[since:]
                    if arrival.event.WhichOneof("kind") == "message"
                }
                missing -= times.keys()
                if not missing:
                    return times
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise LostMessagesError(f"{len(missing)} of {len(expected)} messages did not arrive") from None
