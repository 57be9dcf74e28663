"""Recycling and draining: clients first, then the engine, then the news."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from gateway_worker.adapters.engine.pool import EnginePool
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.engines import EngineCallError, EngineGoneError
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import until
from tests.support.scripted_engine import Spool
from wagateway.engine.v1 import engine_pb2


async def test_recycling_tells_stops_the_clients_and_ends_the_engine(world: PoolWorld) -> None:
    """The core hears of it first, so that it hands over nothing more; then the process goes, all events delivered."""
    pool = await world.pool()
    for handle in ("t/a", "t/b"):
        await pool.start(spec(handle))
    old = pool.engines()[0]
    await pool.recycle(old.engine_id)
    ((handles, planned, taken),) = world.listener.lost
    assert (sorted(handles), planned) == (["t/a", "t/b"], True)
    assert taken <= 2, "before any client was stopped"
    assert len(world.listener.events) == 4
    assert sorted(note["handle"] for note in world.noted("stop")) == ["t/a", "t/b"]
    assert not Path(f"/proc/{old.pid}").exists()
    assert world.listener.forgotten == [old.engine_id]
    assert world.noted("import") == []
    assert not pool.is_live("t/a")
    await pool.start(spec("t/a"))
    assert pool.engines()[0].engine_id != old.engine_id


async def test_a_send_under_way_is_finished_before_the_engine_goes(world: PoolWorld) -> None:
    """Later ones are refused without a doubt; a start waits for the end."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    send = asyncio.create_task(pool.send(text("t/a", "late 0.4")))
    await asyncio.sleep(0.05)
    recycling = asyncio.create_task(pool.recycle(pool.engines()[0].engine_id))
    await asyncio.sleep(0.05)
    with pytest.raises(EngineCallError) as caught:
        await pool.send(text("t/a", "hello"))
    assert caught.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE
    start = asyncio.create_task(pool.start(spec("t/a")))
    assert (await send).message_id == "ID-late 0.4"
    await recycling
    await start
    assert [note["what"] for note in world.noted("stop") + world.noted("shutdown")] == ["stop", "shutdown"]
    assert pool.is_live("t/a")


async def test_a_client_that_is_stopped_while_its_engine_is_recycled_is_not_announced(world: PoolWorld) -> None:
    """Who stopped it knows."""
    pool = await world.pool()
    for handle in ("t/a", "t/b"):
        await pool.start(spec(handle))
    send = asyncio.create_task(pool.send(text("t/a", "late 0.3")))
    await asyncio.sleep(0.05)
    recycling = asyncio.create_task(pool.recycle(pool.engines()[0].engine_id))
    await asyncio.sleep(0.05)
    await pool.stop("t/b")
    await asyncio.gather(recycling, send)
    ((handles, planned, _),) = world.listener.lost
    assert (sorted(handles), planned) == (["t/a", "t/b"], True)


async def test_recycling_an_engine_that_does_not_exist(world: PoolWorld) -> None:
    """The operator is told."""
    pool = await world.pool()
    with pytest.raises(KeyError):
        await pool.recycle("session-00000000")


async def test_an_engine_that_dies_while_it_is_recycled_is_a_death(world: PoolWorld) -> None:
    """Its spool is imported, and the core is told."""
    pool = await world.pool(stop_timeout=0.2)
    for handle in ("t/a", "t/stuck"):
        await pool.start(spec(handle))
    await pool.recycle(pool.engines()[0].engine_id)
    ((handles, planned, _),) = world.listener.lost
    assert (sorted(handles), planned) == (["t/a", "t/stuck"], True), "told when the recycling began"
    assert len(world.noted("import")) == 1


@pytest.mark.parametrize("leak", [{"rss_bytes": 500 * 1024 * 1024}, {"descriptors": 701}])
async def test_a_leaking_engine_is_recycled(world: PoolWorld, leak: dict[str, int]) -> None:
    """Memory above the limit, or descriptors above their share."""
    pool = await world.pool(script=leak, recycle_min_age=0.3)
    await pool.start(spec("t/a"))
    old = pool.engines()[0].engine_id
    await until(lambda: old not in [engine.engine_id for engine in pool.engines()])
    assert world.listener.lost[0][:2] == (["t/a"], True)
    assert len(world.noted("shutdown")) == 1


async def test_a_healthy_or_young_engine_is_not_recycled(world: PoolWorld) -> None:
    """Limits are limits, and a limit that is too low makes no loop."""
    pool = await world.pool(script={"rss_bytes": 399 * 1024 * 1024, "descriptors": 700}, recycle_min_age=0.0)
    young = await world.pool(script={"rss_bytes": 500 * 1024 * 1024})
    await pool.start(spec("t/a"))
    await young.start(spec("t/b"))
    await asyncio.sleep(0.4)
    assert pool.is_live("t/a")
    assert young.is_live("t/b")


async def test_a_leaking_pairing_engine_only_takes_no_more(world: PoolWorld) -> None:
    """The phone is in somebody's hand."""
    pool = await world.pool(script={"descriptors": 900}, recycle_min_age=0.1)
    await pool.start(spec("t/a", linked=False))
    await until(lambda: not pool.engines()[0].takes_clients)
    await asyncio.sleep(0.2)
    assert pool.is_live("t/a")
    await pool.stop("t/a")
    await until(lambda: not pool.engines())


async def test_drain_delivers_everything_and_leaves_nothing(world: PoolWorld) -> None:
    """All engines in parallel; nobody is told of a loss; later starts are refused."""
    pool = await world.pool(clients_per_engine=4)
    await asyncio.gather(*(pool.start(spec(f"t/{number}")) for number in range(10)))
    await pool.start(spec("t/new", linked=False))
    pids = [engine.pid for engine in pool.engines()]
    await pool.drain()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert all(world.listener.kinds(f"t/{number}") == ["logged_in", "connection_lost"] for number in range(10))
    assert world.listener.lost == []
    assert world.folders() == set()
    with pytest.raises(EngineGoneError):
        await pool.start(spec("t/0"))
    await pool.drain()


async def test_an_engine_that_does_not_end_is_killed(world: PoolWorld) -> None:
    """After its answer to the shutdown nothing can be lost."""
    pool = await world.pool(script={"survives_shutdown": True}, exit_grace=0.3)
    await pool.start(spec("t/a"))
    began = time.monotonic()
    await pool.drain()
    assert time.monotonic() - began < 2
    assert world.folders() == set()


async def test_an_engine_that_ends_with_an_error_is_reported(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A planned end that lost something is no routine."""
    pool = await world.pool(script={"exit_code": 1})
    await pool.start(spec("t/a"))
    await pool.drain()
    (record,) = [record for record in caplog.records if "ended: exited with code 1" in record.message]
    assert record.levelno == logging.ERROR


async def test_drain_gives_up_in_time_and_keeps_the_spool(world: PoolWorld) -> None:
    """What the store did not take is imported by the next run."""
    async with EnginePool(world.config(drain_grace=0.5), world.listener) as pool:
        await pool.start(spec("t/a"))
        await until(lambda: world.listener.events)
        engine = pool.engines()[0]
        world.listener.failures.extend(StoreUnavailableError() for _ in range(1000))
        await pool.send(text("t/a", "burst 3"))
    assert not Path(f"/proc/{engine.pid}").exists()
    assert len(Spool.read(world.spools / engine.engine_id)) == 5
    world.listener.failures.clear()
    again = await world.pool()
    await again.recover_spools()
    assert world.listener.kinds("t/a") == ["logged_in", "message", "message", "message", "connection_lost"]


async def test_leaving_does_not_wait_for_a_listener_that_never_returns(world: PoolWorld) -> None:
    """The process must end; the spool keeps what was not taken."""
    began = time.monotonic()
    async with EnginePool(world.config(drain_grace=0.3), world.listener) as pool:
        await pool.start(spec("t/a"))
        await until(lambda: world.listener.events)
        engine = pool.engines()[0]
        world.listener.gate.clear()
        await pool.send(text("t/a", "burst 3"))
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{engine.pid}").exists()
    assert len(Spool.read(world.spools / engine.engine_id)) == 5


async def test_callers_do_not_hang_when_the_pool_closes(world: PoolWorld) -> None:
    """A start and a send under way end with the port's error."""
    async with EnginePool(world.config(drain_grace=0.3, settle_timeout=0.1), world.listener) as pool:
        await pool.start(spec("t/a"))
        send = asyncio.create_task(pool.send(text("t/a", "late")))
        start = asyncio.create_task(pool.start(spec("t/wedged")))
        await asyncio.sleep(0.2)
    with pytest.raises(EngineGoneError):
        await send
    with pytest.raises(EngineGoneError):
        await start
