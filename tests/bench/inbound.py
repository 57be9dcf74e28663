"""Latency of arriving messages, from neonize's callback to the client, at a constant rate.

Once with contacts that write through the simulator, once with callbacks that a script calls. With the first everything
is real, but the simulator, its contacts' cryptography and the Go core then take most of two cores, which bounds the
rate. The second leaves out what comes before the callback (see :mod:`tests.bench.scripted_engine`).
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.costs import Costs
from tests.bench.figures import Figure
from tests.bench.latency import arrivals, latency_figures
from tests.bench.scripted_engine import ORDERS
from tests.bench.spools import SpoolKeeper
from tests.bench.world import FROM_NOW, World
from tests.support.api import EventFollower, WorkerApi, worker_api
from tests.support.processes import running_worker
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import worker_pb2

_WARM_UP: Final = 2  # messages a session, which open the Signal session


async def measure_inbound(world: World, *, connected: int, rate: float, seconds: float) -> list[Figure]:
    """Let contacts write to the sessions.

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
    keeper = SpoolKeeper(world.data_dir, world.directory / "kept-spools")
    since = world.events.mark
    costs = Costs.of_gateway(world)
    async with keeper.keeping():
        with costs.counted():
            said = await _say_steadily(world, pairs, rate, int(rate * seconds))
            arrived = await arrivals(world.events, said.__contains__, len(said), since=since)
    return [
        *latency_figures("inbound_contacts", arrived, keeper, aims=False),
        *(
            Figure(f"{role}_cpu_ms_per_inbound", f"CPU a message: {role}", 1000 * used / len(said), "ms")
            for role, used in costs.seconds.items()
        ),
    ]


async def measure_scripted_inbound(world: World, *, connected: int, rate: float, seconds: float) -> list[Figure]:
    """Let a script call the callbacks of the sessions of a worker of its own.

    Args:
        world: Gives a folder; its own worker takes no part.
        connected: Sessions that are connected.
        rate: Messages a second, all sessions together.
        seconds: How long.
    """
    directory = world.directory / "scripted"
    data_dir = directory / "data"
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(
            running_worker(data_dir=data_dir, log_directory=directory, module="tests.bench.scripted_worker")
        )
        api = await stack.enter_async_context(worker_api(worker.target))
        events = await stack.enter_async_context(EventFollower(api, FROM_NOW))
        world.narrate(f"linking {connected} sessions whose clients are scripts")
        names = [f"s{number:03d}" for number in range(connected)]
        for name in names:
            await _connect(api, events, name)
        world.narrate(f"scripts hand over {rate:g} messages a second for {seconds:g} s")
        keeper = SpoolKeeper(data_dir, directory / "kept-spools")
        since = events.mark
        async with keeper.keeping():
            orders = {"clients": connected, "rate": rate, "seconds": seconds}
            temporary = directory / f"{ORDERS}.new"
            temporary.write_text(json.dumps(orders), encoding="utf-8")
            temporary.rename(directory / ORDERS)
            arrived = await arrivals(events, lambda _: True, int(rate * seconds), since=since, patience=seconds + 30)
    return list(latency_figures("inbound", arrived, keeper, aims=True))


async def _connect(api: WorkerApi, events: EventFollower, session_id: str) -> None:
    await api.CreateSession(worker_pb2.CreateSessionRequest(session_id=session_id))
    await api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id=session_id))
    await events.wait_all_connected([session_id])


async def _say(world: World, contact: str, phone: str) -> str:
    request = simulator_pb2.SayRequest(contact=contact, phone=phone, text="hello from a contact")
    return (await world.control.Say(request)).id


async def _say_steadily(world: World, pairs: list[tuple[str, str]], rate: float, count: int) -> set[str]:
    """Say at a constant rate, whether or not earlier ones are done; returns the message ids."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
            contact, phone = pairs[number % len(pairs)]
            tasks.append(group.create_task(_say(world, contact, phone)))
    return {task.result() for task in tasks}
