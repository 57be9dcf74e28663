"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from tests.bench.figures import Figure, Section, as_json, show
from tests.bench.inbound import measure_inbound, measure_scripted_inbound
from tests.bench.memory import measure_memory
from tests.bench.reconnect import measure_reconnect
from tests.bench.startup import measure_empty_startup, measure_linked_startup
from tests.bench.throughput import measure_throughput
from tests.bench.world import World, world

_SMALL: Final = 20
_LARGE: Final = 50
_EVENTS_PER_S: Final = 500.0
_CONTACTS_PER_S: Final = 250.0  # what two cores can bear with the simulator and the Go core beside the gateway
_TIME_LIMIT: Final = 1200.0  # s; a benchmark that hangs says so


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done.

    Attributes:
        rounds: Repetitions of what is compared or may vary.
        sends: Messages a throughput run.
        lone_sends: The same for a single sender.
        inbound_seconds: How long contacts write.
    """

    rounds: int
    sends: int
    lone_sends: int
    inbound_seconds: float


_FULL: Final = Extent(rounds=3, sends=1200, lone_sends=300, inbound_seconds=20)
_QUICK: Final = Extent(rounds=1, sends=400, lone_sends=100, inbound_seconds=5)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A part of the benchmark.

    Attributes:
        name: For ``--only``.
        title: For the table.
        measure: Does it.
    """

    name: str
    title: str
    measure: Callable[[World, Extent], Awaitable[list[Figure]]]


def _throughput(*, connected: int, senders: int) -> Callable[[World, Extent], Awaitable[list[Figure]]]:
    return lambda world, extent: measure_throughput(
        world,
        connected=connected,
        senders=senders,
        sends=extent.lone_sends if senders == 1 else extent.sends,
        rounds=extent.rounds,
    )


# In the order of their sizes, for the world only grows.
_SCENARIOS: Final = (
    Scenario("startup", "Start-up, empty", lambda world, extent: measure_empty_startup(world, rounds=extent.rounds)),
    Scenario(
        "inbound",
        f"Callbacks called by a script, {_EVENTS_PER_S:g}/s in 50 sessions: callback to the client",
        lambda world, extent: measure_scripted_inbound(
            world, connected=_LARGE, rate=_EVENTS_PER_S, seconds=extent.inbound_seconds
        ),
    ),
    Scenario("throughput-1", "Sends, 1 of 20 sessions sends", _throughput(connected=_SMALL, senders=1)),
    Scenario("throughput-20", "Sends, 20 sessions", _throughput(connected=_SMALL, senders=_SMALL)),
    Scenario("memory", "Memory, 50 sessions connected", lambda world, _: measure_memory(world, connected=_LARGE)),
    Scenario("throughput-50", "Sends, 50 sessions", _throughput(connected=_LARGE, senders=_LARGE)),
    Scenario(
        "contacts",
        f"Messages of contacts, {_CONTACTS_PER_S:g}/s to 50 sessions: neonize's callback to the client",
        lambda world, extent: measure_inbound(
            world, connected=_LARGE, rate=_CONTACTS_PER_S, seconds=extent.inbound_seconds
        ),
    ),
    Scenario(
        "reconnect",
        "Session engine killed, 50 sessions",
        lambda world, extent: measure_reconnect(world, connected=_LARGE, rounds=extent.rounds),
    ),
    Scenario(
        "restart", "Worker restarted, 50 sessions", lambda world, _: measure_linked_startup(world, connected=_LARGE)
    ),
)


@contextmanager
def _quiet_stderr(log: Path) -> Iterator[None]:
    """Send to a file what libraries and bare clients write to the standard error; an error brings its end along."""
    sys.stderr.flush()
    kept = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    except Exception as error:
        error.add_note(f"--- standard error ---\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)


async def run(extent: Extent, scenarios: list[Scenario], console: Console) -> list[Section]:
    """Measure the scenarios in one world; returns a section each.

    Raises:
        TimeoutError: It takes too long as a whole, or something that was waited for did not come.
    """
    sections = []
    with (
        tempfile.TemporaryDirectory(prefix="wagw-bench-") as directory,
        _quiet_stderr(Path(directory) / "stderr"),
        console.status("starting") as status,
    ):
        async with asyncio.timeout(_TIME_LIMIT), world(Path(directory), status.update) as measured:
            for scenario in scenarios:
                figures = await scenario.measure(measured, extent)
                sections.append(Section(scenario.title, figures))
    return sections


def main() -> None:
    """Parse the command line, measure, print."""
    names = [scenario.name for scenario in _SCENARIOS]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="end the output with one line of JSON")
    parser.add_argument("--quick", action="store_true", help="fewer messages and rounds: a look, not a measurement")
    parser.add_argument("--only", action="append", choices=names, metavar="SCENARIO", help=f"one of {', '.join(names)}")
    options = parser.parse_args()
    console = Console()
    chosen = [scenario for scenario in _SCENARIOS if options.only is None or scenario.name in options.only]
    console.print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; simulator, worker, engine "
        "and the client (asyncio, in this process) share them",
        style="dim",
    )
    sections = uvloop.run(run(_QUICK if options.quick else _FULL, chosen, console))
    show(console, sections)
    if options.json:
        sys.stdout.write(json.dumps(as_json(sections)) + "\n")


if __name__ == "__main__":
    main()
