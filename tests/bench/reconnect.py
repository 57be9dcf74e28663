"""Time until every session is connected again after its engine was killed."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

from tests.bench.figures import Aim, Figure
from tests.bench.world import World
from tests.support.api import CONNECTED, state_of

_PATIENCE: Final = 60.0  # s
_AIM: Final = Aim("≤", 5)


async def measure_reconnect(world: World, *, connected: int, rounds: int) -> list[Figure]:
    """Kill the session engines and follow the events until every session is connected again.

    Args:
        world: The world; it gets ``connected`` sessions.
        connected: Sessions that are connected.
        rounds: How often; the slowest counts.
    """
    sessions = await world.sessions(connected)
    noticed: list[float] = []
    recovered: list[float] = []
    for number in range(rounds):
        await world.settle()
        world.narrate(f"killing the session engine of {connected} sessions, round {number + 1}/{rounds}")
        since = world.events.mark
        killed = time.time_ns()
        for pid in world.worker.engine_pids("session"):
            os.kill(pid, signal.SIGKILL)
        names = [session.session_id for session in sessions]
        await world.events.wait_all_connected(names, since=since, patience=_PATIENCE)
        changes = [arrival for arrival in world.events.arrivals[since:] if state_of(arrival.event)]
        noticed.append((changes[0].time_ns - killed) / 1e9)
        # They were all connected, so the first time that each is said to be connected is after the kill.
        back = [arrival.time_ns for arrival in changes if state_of(arrival.event) == CONNECTED]
        recovered.append((max(back) - killed) / 1e9)
    return [
        Figure("engine_loss_noticed_s", "kill to the first event about it, slowest", max(noticed), "s"),
        Figure(
            f"reconnect_s_{connected}",
            f"kill to all {connected} connected, slowest of {rounds}",
            max(recovered),
            "s",
            _AIM,
        ),
    ]
