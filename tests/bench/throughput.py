"""Sends per second through the API, beside clients without a gateway on the same simulator, in turns."""

from __future__ import annotations

from statistics import median
from typing import Final

from tests.bench.costs import Costs
from tests.bench.figures import Aim, Figure
from tests.bench.ring import legs, run_ring
from tests.bench.run import Run
from tests.bench.world import World
from tests.bench.yardsticks import CoreLoop, NeonizeLoop

_WARM_UP: Final = 2  # messages a session: the first opens the Signal session, the second is the first ordinary one
_RATIO_AIM: Final = Aim("≥", 0.8)
_MAIN_SIZE: Final = 20  # sessions; the ratio there is the one that counts
_GATEWAY: Final = "gateway"


async def measure_throughput(world: World, *, connected: int, senders: int, sends: int, rounds: int) -> list[Figure]:
    """Measure gateway and yardsticks in turns (A B C A B C …), and compare them round by round.

    Args:
        world: The world; it gets ``connected`` sessions and as many clients of each yardstick.
        connected: Sessions that are connected.
        senders: How many of them send, each to the next in a ring and one call at a time.
        sends: Messages a run, all senders together, about.
        rounds: Runs of each.
    """
    ring = legs(await world.sessions(connected), senders)
    yardsticks = [await world.yardstick(kind, connected) for kind in (NeonizeLoop, CoreLoop)]
    messages = max(1, sends // senders)
    await run_ring(world, ring, _WARM_UP)
    for yardstick in yardsticks:
        await yardstick.run(senders, _WARM_UP)
    runs: dict[str, list[Run]] = {name: [] for name in (_GATEWAY, *(yardstick.name for yardstick in yardsticks))}
    costs = Costs.of_gateway(world)
    bare_costs = Costs({yardstick.name: [yardstick.pid] for yardstick in yardsticks})
    for number in range(rounds):
        world.narrate(f"{senders} of {connected} sessions send {messages} messages each, round {number + 1}/{rounds}")
        await world.settle()
        with costs.counted():
            runs[_GATEWAY].append(await run_ring(world, ring, messages))
        for yardstick in yardsticks:
            await world.settle()
            with bare_costs.counted():
                runs[yardstick.name].append(await yardstick.run(senders, messages))
    return [*_figures(senders, runs), *_cost_figures(senders, rounds * messages * senders, costs, bare_costs)]


def _figures(senders: int, runs: dict[str, list[Run]]) -> list[Figure]:
    gateway, neonize, core = (runs[name] for name in (_GATEWAY, NeonizeLoop.name, CoreLoop.name))
    ratios = [run.sends_per_s / bare.sends_per_s for run, bare in zip(gateway, neonize, strict=True)]
    core_ratios = [run.sends_per_s / bare.sends_per_s for run, bare in zip(gateway, core, strict=True)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [
        *_speeds("", "through the API", senders, gateway),
        *_speeds("neonize_", "neonize's asyncio client in a loop", senders, neonize),
        *_speeds("core_", "its Go library alone, nothing that arrives is looked at", senders, core),
        Figure(
            "throughput_ratio" if senders == _MAIN_SIZE else f"throughput_ratio_{senders}",
            f"API : neonize loop, median of {len(ratios)} ({spread})",
            median(ratios),
            aim=None if senders == 1 else _RATIO_AIM,
        ),
        Figure(f"core_ratio_{senders}", "API : Go library alone", median(core_ratios)),
    ]


def _speeds(prefix: str, label: str, senders: int, runs: list[Run]) -> list[Figure]:
    return [
        Figure(f"{prefix}sends_per_s_{senders}", label, median(run.sends_per_s for run in runs), "sends/s"),
        Figure(f"{prefix}send_p50_ms_{senders}", "  half within", median(run.p50_ms for run in runs), "ms"),
        Figure(f"{prefix}send_p99_ms_{senders}", "  99 % within", median(run.p99_ms for run in runs), "ms"),
    ]


def _cost_figures(senders: int, sends: int, *costs: Costs) -> list[Figure]:
    return [
        Figure(f"{role}_cpu_ms_per_send_{senders}", f"CPU a send: {role}", 1000 * used / sends, "ms")
        for counted in costs
        for role, used in counted.seconds.items()
    ]
