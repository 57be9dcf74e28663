"""Memory of worker and engines while sessions are connected."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.bench.figures import Aim, Figure
from tests.bench.world import World
from tests.support import procfs

_MB: Final = 1e6
_PAIRING_ENDS: Final = 60.0  # s after which an idle pairing engine must have ended
_POLL: Final = 0.2  # s
_AIM: Final = Aim("≤", 250)


async def measure_memory(world: World, *, connected: int) -> list[Figure]:
    """Read the resident memory of worker and engines from the kernel.

    The engine that links ends when it has been idle; it is waited for, because it is not there most of the time.

    Args:
        world: The world; it gets ``connected`` sessions.
        connected: Sessions that are connected.

    Raises:
        TimeoutError: The engine that links does not end.
    """
    await world.sessions(connected)
    world.narrate("waiting for the pairing engine to end")
    async with asyncio.timeout(_PAIRING_ENDS):
        while world.worker.engine_pids("pairing"):
            await asyncio.sleep(_POLL)
    worker = procfs.memory(world.worker.pid)
    engines = [procfs.memory(pid) for pid in world.worker.engine_pids()]
    engines_rss = sum(engine.rss for engine in engines)
    total = worker.rss + engines_rss
    return [
        Figure("worker_rss_mb", "worker (RSS)", worker.rss / _MB, "MB"),
        Figure("engines_rss_mb", f"{len(engines)} engine(s) (RSS)", engines_rss / _MB, "MB"),
        Figure(f"total_rss_mb_{connected}", "together (RSS)", total / _MB, "MB", _AIM),
        Figure(
            f"total_pss_mb_{connected}",
            "together, shared pages counted once (PSS)",
            (worker.pss + sum(engine.pss for engine in engines)) / _MB,
            "MB",
        ),
        Figure(f"per_session_mb_{connected}", "a session's share", total / _MB / connected, "MB"),
    ]
