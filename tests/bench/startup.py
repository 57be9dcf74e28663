"""Start-up: from exec to ready, without and with linked sessions."""

from __future__ import annotations

import statistics
import time

from tests.bench.figures import Figure
from tests.bench.world import World
from tests.support.processes import running_worker


async def measure_empty_startup(world: World, *, rounds: int) -> list[Figure]:
    """Start workers without data, one after the other.

    Args:
        world: The world; its own worker takes no part.
        rounds: How many; the median counts.
    """
    taken = []
    for number in range(rounds):
        world.narrate(f"starting an empty worker, round {number + 1}/{rounds}")
        directory = world.directory / f"empty-{number}"
        directory.mkdir()
        started = time.perf_counter()
        async with running_worker(data_dir=directory / "data", simulator=world.simulator, log_directory=directory):
            taken.append(time.perf_counter() - started)
    return [Figure("startup_s", "exec to SERVING, no sessions", statistics.median(taken), "s")]


async def measure_linked_startup(world: World, *, connected: int) -> list[Figure]:
    """Stop the worker and start it again.

    Args:
        world: The world; it gets ``connected`` sessions.
        connected: Sessions that are connected.
    """
    sessions = await world.sessions(connected)
    world.narrate(f"restarting the worker with {connected} linked sessions")
    await world.settle()
    stopping = time.perf_counter()
    await world.stop_worker()
    started = time.perf_counter()
    await world.start_worker()
    serving = time.perf_counter()
    await world.events.wait_all_connected(session.session_id for session in sessions)
    connected_again = time.perf_counter()
    return [
        Figure(f"shutdown_s_{connected}", f"SIGTERM to exit, {connected} sessions", started - stopping, "s"),
        Figure(f"startup_serving_s_{connected}", f"exec to SERVING, {connected} sessions", serving - started, "s"),
        Figure(f"startup_s_{connected}", f"exec to all {connected} connected", connected_again - started, "s"),
    ]
