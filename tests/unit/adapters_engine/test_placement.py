"""Where clients go, and how engines come and go with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from gateway_worker.adapters.engine.placement import Role, choose
from gateway_worker.ports.engines import EngineGoneError
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import until


@dataclass(frozen=True)
class Host:
    """An engine for placement."""

    role: Role
    load: int
    takes_clients: bool = True


def test_the_emptiest_engine_of_the_role_that_has_room_is_chosen() -> None:
    """Full, closed and foreign ones are not; of equals the first is."""
    full, busy, idle = (Host(Role.SESSION, load) for load in (5, 3, 1))
    closed, other = Host(Role.SESSION, 0, takes_clients=False), Host(Role.PAIRING, 0)
    twin = Host(Role.SESSION, 1)
    assert choose([full, busy, closed, other, idle, twin], Role.SESSION, 5) is idle
    assert choose([full, closed, other], Role.SESSION, 5) is None
    assert choose([], Role.PAIRING, 5) is None


async def test_clients_share_engines_up_to_the_cap(world: PoolWorld) -> None:
    """An engine is started when the others are full, one at a time, however many clients come at once."""
    pool = await world.pool(clients_per_engine=3)
    await asyncio.gather(*(pool.start(spec(f"t/{number}")) for number in range(7)))
    assert [len(engine.clients) for engine in pool.engines()] == [3, 3, 1]
    assert world.noted("engine")[0]["arguments"][-2:] == ["--max-sessions", "3"]
    await pool.stop("t/0")
    await pool.stop("t/1")
    first = pool.engines()[0].engine_id
    await pool.start(spec("t/new"))
    loads = {engine.engine_id: len(engine.clients) for engine in pool.engines()}
    assert loads[first] == 2
    assert len(world.noted("engine")) == 3


async def test_an_idle_engine_exits_and_leaves_nothing(world: PoolWorld) -> None:
    """It costs 60 MB; a later client starts another."""
    pool = await world.pool(session_idle=0.2)
    await pool.start(spec("t/a"))
    await pool.stop("t/a")
    await until(lambda: not pool.engines())
    await until(lambda: world.folders() == set())
    assert world.listener.lost == []
    assert len(world.noted("shutdown")) == 1
    await pool.start(spec("t/a"))
    assert pool.is_live("t/a")


async def test_unlinked_clients_live_in_an_engine_of_their_own(world: PoolWorld) -> None:
    """Once linked they move by stop and start; the pairing engine exits when it is idle, the other stays."""
    pool = await world.pool(pairing_idle=0.3)
    await pool.start(spec("t/linked"))
    await pool.start(spec("t/new", linked=False))
    assert pool.is_linking_engine("t/new")
    assert not pool.is_linking_engine("t/linked")
    assert [engine.role for engine in pool.engines()] == ["session", "pairing"]
    await pool.send(text("t/new", "link"))
    await until(lambda: "paired" in world.listener.kinds("t/new"))
    await pool.stop("t/new")
    assert world.listener.kinds("t/new") == ["logged_in", "paired", "connection_lost"]
    await pool.start(spec("t/new"))
    assert not pool.is_linking_engine("t/new")
    await until(lambda: [engine.role for engine in pool.engines()] == ["session"])
    assert pool.is_live("t/new")


async def test_a_pairing_engine_is_replaced_after_abandoned_codes(world: PoolWorld) -> None:
    """Linkings that succeed do not count; one still under way is left alone."""
    pool = await world.pool(abandoned_linkings=2)
    await pool.start(spec("t/linked", linked=False))
    await pool.send(text("t/linked", "link"))
    await until(lambda: "paired" in world.listener.kinds("t/linked"))
    await pool.stop("t/linked")
    await pool.start(spec("t/slow", linked=False))
    worn = pool.engines()[0].engine_id
    await pool.start(spec("t/given-up", linked=False))
    await pool.stop("t/given-up")
    await pool.start(spec("t/ended", linked=False))
    assert len(pool.engines()) == 1
    await pool.send(text("t/ended", "end"))
    await until(lambda: not pool.is_live("t/ended"))
    await pool.stop("t/ended")
    assert not pool.engines()[0].takes_clients
    assert pool.is_live("t/slow")
    await pool.start(spec("t/next", linked=False))
    assert {engine.engine_id: engine.clients for engine in pool.engines()}[worn] == ("t/slow",)
    await pool.stop("t/slow")
    await until(lambda: worn not in [engine.engine_id for engine in pool.engines()])
    assert pool.is_live("t/next")
    assert world.listener.lost == []


async def test_starts_and_stops_do_not_flood_an_engine(world: PoolWorld) -> None:
    """Only a few are given to it at a time; the others wait here."""
    pool = await world.pool(lifecycle_concurrency=2, start_timeout=60.0)
    await pool.start(spec("t/a"))
    starts = [asyncio.create_task(pool.start(spec(f"t/{number}-wedged"))) for number in range(6)]
    await until(lambda: len(world.noted("start")) == 3)
    await asyncio.sleep(0.2)
    assert len(world.noted("start")) == 3
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "die"))
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert [type(result) for result in results] == [EngineGoneError] * 6
