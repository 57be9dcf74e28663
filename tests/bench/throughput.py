"""Sends per second through the API, beside a bare neonize loop on the same simulator, in turns."""

from __future__ import annotations

import statistics
from typing import Any, Final

from tests.bench.costs import Costs
from tests.bench.figures import Aim, Figure, percentile
from tests.bench.ring import TEXT, Run, legs, run_ring
from tests.bench.world import World

_WARM_UP: Final = 2  # messages a session: the first opens the Signal session, the second is the first ordinary one
_RATIO_AIM: Final = Aim("≥", 0.8)


async def measure_throughput(world: World, *, connected: int, senders: int, sends: int, rounds: int) -> list[Figure]:
    """Measure API and bare loop in turns (A B A B …), and compare them pair by pair.

    Args:
        world: The world; it gets ``connected`` sessions and as many bare clients.
        connected: Sessions that are connected.
        senders: How many of them send, each to the next in a ring and one call at a time.
        sends: Messages a run, all senders together, about.
        rounds: Pairs of runs.
    """
    sessions = await world.sessions(connected)
    bare, jids = await world.bare_clients(connected)
    ring = legs(sessions, senders)
    bare_ring = [[f"b{index}", jids[(index + 1) % connected]] for index in range(senders)]
    messages = max(1, sends // senders)
    await run_ring(world, ring, _WARM_UP)
    await bare.call("bench", ring=bare_ring, messages=_WARM_UP, text=TEXT)
    runs: list[Run] = []
    bare_runs: list[dict[str, Any]] = []
    costs = Costs.of_gateway(world)
    bare_costs = Costs.of_bare_loop(world)
    for number in range(rounds):
        await world.settle()
        world.narrate(f"{senders} of {connected} sessions send {messages} messages each, round {number + 1}/{rounds}")
        with costs.counted():
            runs.append(await run_ring(world, ring, messages))
        await world.settle()
        with bare_costs.counted():
            bare_runs.append(await bare.call("bench", ring=bare_ring, messages=messages, text=TEXT))
    return [
        *_figures(senders, runs, bare_runs),
        *_cost_figures(senders, sum(run.sends for run in runs), costs, bare_costs),
    ]


def _figures(senders: int, runs: list[Run], bare_runs: list[dict[str, Any]]) -> list[Figure]:
    latencies = [taken for run in runs for taken in run.latencies_ms]
    ratios = [run.sends_per_s / bare["sends_per_second"] for run, bare in zip(runs, bare_runs, strict=True)]
    median = statistics.median
    compared = senders > 1
    ratio_key = "throughput_ratio" if senders == _MAIN_SIZE else f"throughput_ratio_{senders}"
    return [
        Figure(f"sends_per_s_{senders}", "through the API", median(run.sends_per_s for run in runs), "sends/s"),
        Figure(f"send_p50_ms_{senders}", "  half of the calls within", percentile(latencies, 0.5), "ms"),
        Figure(f"send_p99_ms_{senders}", "  99 % of the calls within", percentile(latencies, 0.99), "ms"),
        Figure(
            f"bare_sends_per_s_{senders}",
            "bare neonize loop",
            median(bare["sends_per_second"] for bare in bare_runs),
            "sends/s",
        ),
        Figure(f"bare_p50_ms_{senders}", "  half of the calls within", median(b["p50_ms"] for b in bare_runs), "ms"),
        Figure(f"bare_p99_ms_{senders}", "  99 % of the calls within", median(b["p99_ms"] for b in bare_runs), "ms"),
        Figure(
            ratio_key,
            f"API against bare loop (median of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f})",
            median(ratios),
            "",
            _RATIO_AIM if compared else None,
        ),
    ]


def _cost_figures(senders: int, sends: int, *costs: Costs) -> list[Figure]:
    return [
        Figure(f"{role.replace(' ', '_')}_cpu_ms_per_send_{senders}", f"CPU a send: {role}", 1000 * used / sends, "ms")
        for counted in costs
        for role, used in counted.seconds.items()
    ]


_MAIN_SIZE: Final = 20  # its ratio is the one that counts
