"""What is left after a process that was committing is killed."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from gateway_worker.domain.ids import Position
from gateway_worker.ports.records import EventFilter
from tests.support.stores import KEY, OTHER, TENANT, open_stores

ROOT = Path(__file__).parents[2]
ROUNDS = 3
ACKNOWLEDGED_BEFORE_THE_KILL = 400


async def commit_and_be_killed(path: Path) -> set[tuple[int, str, int]]:
    """Run a committing process on the database, kill it in the middle, and return what it was told is on disk."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.committer", str(path)), cwd=ROOT, stdout=PIPE
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    async for line in process.stdout:
        lines.append(line)
        if len(lines) == ACKNOWLEDGED_BEFORE_THE_KILL:
            process.kill()
    assert await process.wait() == -9
    complete = (line.split() for line in lines if line.endswith(b"\n"))
    return {(int(position), session.decode(), int(sequence)) for position, session, sequence in complete}


async def test_everything_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Over several lives, each acknowledged event is there, and positions and sequences have no gap."""
    acknowledged: set[tuple[int, str, int]] = set()
    for _ in range(ROUNDS):
        acknowledged |= await commit_and_be_killed(tmp_path / "gateway.db")
        async with open_stores("sqlite", tmp_path) as stores:
            events = await stores.all_events(page=500)
            stored = {(event.position, event.draft.key.session, event.sequence) for event in events}
            assert acknowledged <= stored
            assert [event.position for event in events] == list(range(1, len(events) + 1))
            assert (await stores.events.bounds()).head == Position(len(events))
            for key in (KEY, OTHER):
                mine = await stores.all_events(EventFilter(TENANT, frozenset({key.session})), page=500)
                assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
            assert len(events) % 2 == 0, "a commit is there with both its events or not at all"
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED_BEFORE_THE_KILL
