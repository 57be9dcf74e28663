"""How long messages take from neonize's callback to the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from tests.bench.figures import Aim, Figure, percentile
from tests.bench.spools import SpoolKeeper
from tests.support.api import EventFollower

_ARRIVED: Final = 30.0  # s that the last messages may take to arrive
_POLL: Final = 0.05  # s
_P50_AIM: Final = Aim("≤", 5)  # ms
_P99_AIM: Final = Aim("≤", 25)  # ms


class LostMessagesError(Exception):
    """Messages that were acknowledged, or that a callback took, did not arrive."""


async def arrivals(
    events: EventFollower,
    expected: Callable[[str], bool],
    count: int,
    *,
    since: int,
    patience: float = _ARRIVED,
) -> dict[str, int]:
    """Wait for messages; returns when each was read off the stream, Unix nanoseconds by message id.

    Args:
        events: The stream.
        expected: Whether a message id is one of those waited for.
        count: How many there are.
        since: A mark of ``events``.
        patience: Seconds to wait at most.

    Raises:
        LostMessagesError: Not all came in time.
    """
    times: dict[str, int] = {}
    try:
        async with asyncio.timeout(patience):
            while len(times) < count:
                await asyncio.sleep(_POLL)
                times = {
                    arrival.event.message.id: arrival.time_ns
                    for arrival in events.arrivals[since:]
                    if arrival.event.WhichOneof("kind") == "message" and expected(arrival.event.message.id)
                }
    except TimeoutError:
        raise LostMessagesError(f"{count - len(times)} of {count} messages did not arrive") from None
    return times


def latency_figures(prefix: str, arrived: dict[str, int], keeper: SpoolKeeper, *, aims: bool) -> Iterable[Figure]:
    """Compare with the times of the callbacks.

    Args:
        prefix: Begins the keys of the figures.
        arrived: When each message reached the client, Unix nanoseconds by message id.
        keeper: Knows when its callback ran.
        aims: Whether the aims hold for these circumstances.
    """
    called_back = keeper.message_times()
    ways_ms = [(time_ns - called_back[message_id]) / 1e6 for message_id, time_ns in arrived.items()]
    callbacks = sorted(called_back[message_id] for message_id in arrived)
    rate = 1e9 * (len(callbacks) - 1) / (callbacks[-1] - callbacks[0])
    p50, p99 = percentile(ways_ms, 0.5), percentile(ways_ms, 0.99)
    yield Figure(f"{prefix}_events_per_s", "messages that callbacks took", rate, "/s")
    yield Figure(f"{prefix}_p50_ms", "half of them at the client within", p50, "ms", _P50_AIM if aims else None)
    yield Figure(f"{prefix}_p99_ms", "99 % of them at the client within", p99, "ms", _P99_AIM if aims else None)
    yield Figure(f"{prefix}_max_ms", "the slowest", max(ways_ms), "ms")
