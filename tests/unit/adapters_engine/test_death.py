"""Engines that die: what they spooled arrives exactly once, and nothing spins."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest

from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.engines import EngineCallError, EngineGoneError
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import until
from tests.support.scripted_engine import Spool
from wagateway.engine.v1 import engine_pb2


async def test_a_dead_engine_s_spool_arrives_once(world: PoolWorld) -> None:
    """The core hears of the loss at once; events that were taken are not given again, the others follow."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await pool.start(spec("t/b"))
    await pool.send(text("t/a", "burst 30"))
    await until(lambda: len(world.listener.texts("t/a")) == 30)
    dead = pool.engines()[0].engine_id
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/b", "burst 700 die"))
    await until(lambda: world.listener.forgotten)
    assert world.listener.texts("t/b") == [f"t/b#{number}" for number in range(700)]
    positions = [event.position for spool, event in world.listener.events if spool == dead]
    assert positions == list(range(1, 733))
    handles, planned, taken = world.listener.lost[0]
    assert (sorted(handles), planned) == (["t/a", "t/b"], False)
    assert taken < 732
    assert world.noted("import")[0]["after"] in range(32, 34)
    assert world.listener.forgotten == [dead]
    assert world.folders() == {pool.engines()[0].engine_id}


async def test_a_client_is_not_started_before_its_old_events_arrived(world: PoolWorld) -> None:
    """A start right after the death waits for the import."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    world.listener.gate.clear()
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "burst 50 die"))
    start = asyncio.create_task(pool.start(spec("t/a")))
    await until(lambda: len(world.noted("engine")) == 2)
    await asyncio.sleep(0.2)
    assert not start.done()
    assert len(world.noted("start")) == 1
    world.listener.gate.set()
    await start
    assert world.listener.kinds("t/a")[:51] == ["logged_in"] + ["message"] * 50
    assert pool.is_live("t/a")


async def test_an_import_waits_for_the_store(world: PoolWorld) -> None:
    """Also the question how far it got."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await until(lambda: world.listener.events)
    world.listener.failures.extend(StoreUnavailableError() for _ in range(5))
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "burst 20 die"))
    await until(lambda: len(world.listener.texts("t/a")) == 20)
    assert world.listener.texts("t/a") == [f"t/a#{number}" for number in range(20)]


async def test_a_stop_that_meets_a_death_still_keeps_its_word(world: PoolWorld) -> None:
    """It returns when the dead engine's events arrived, and the core is not told of a loss it asked for."""
    pool = await world.pool()
    await pool.start(spec("t/stuck"))
    await pool.start(spec("t/b"))
    stop = asyncio.create_task(pool.stop("t/stuck"))
    await until(lambda: world.noted("stop"))
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/b", "burst 10 die"))
    await stop
    assert len(world.listener.texts("t/b")) == 10
    await until(lambda: world.listener.lost)
    assert world.listener.lost[0][0] == ["t/b"]


async def test_an_engine_that_cannot_stop_a_client_is_killed(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """In time or at all: a client that may still run would be a second owner of its database."""
    pool = await world.pool(stop_timeout=0.2)
    await pool.start(spec("t/stuck"))
    await pool.stop("t/stuck")
    assert "it did not stop a client within 0.2 s" in caplog.text
    await pool.start(spec("t/unstoppable"))
    await pool.stop("t/unstoppable")
    assert "it could not stop a client" in caplog.text
    assert world.listener.lost == []


async def test_an_engine_that_does_not_answer_a_start_is_killed(world: PoolWorld) -> None:
    """Its other clients are worth more elsewhere."""
    pool = await world.pool(start_timeout=0.2)
    await pool.start(spec("t/b"))
    with pytest.raises(EngineGoneError):
        await pool.start(spec("t/wedged"))
    await until(lambda: world.listener.lost)
    assert world.listener.lost[0][0] == ["t/b"]


async def test_a_silent_engine_is_killed(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """A process that exists and does nothing is no engine."""
    pool = await world.pool(health_timeout=1.5)
    await pool.start(spec("t/a"))
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "wedge"))
    assert "nothing was heard of it for 1.5 s" in caplog.text


async def test_an_engine_that_waits_for_the_store_is_not_silent(world: PoolWorld) -> None:
    """While the listener holds the stream up, silence is the listener's."""
    pool = await world.pool(health_timeout=2.0)
    await pool.start(spec("t/a"))
    world.listener.gate.clear()
    await pool.send(text("t/a", "burst 6000"))
    await until(lambda: not pool._fleet.engines[0].client.listening)
    await asyncio.sleep(2.5)
    world.listener.gate.set()
    await until(lambda: len(world.listener.texts("t/a")) == 6000)
    assert world.listener.lost == []


async def test_deaths_at_start_up_do_not_spin(world: PoolWorld) -> None:
    """After a failed start the next one waits, twice as long each time; a start says so at once meanwhile."""
    pool = await world.pool(script={"deaths_at_start": 3}, restart_backoff=0.4)
    loop = asyncio.get_running_loop()
    for deaths in (1, 2):
        while True:
            with pytest.raises(EngineGoneError) as caught:
                await pool.start(spec("t/a"))
            if "lately" not in str(caught.value):
                break
            await asyncio.sleep(0.02)
        assert "exited with code 7" in str(caught.value)
        assert len(world.noted("engine")) == deaths
        began = loop.time()
        with pytest.raises(EngineGoneError, match="lately"):
            await pool.start(spec("t/a"))
        assert loop.time() - began < 0.1
    assert world.folders() == set()
    async with asyncio.timeout(20):
        while not pool.is_live("t/a"):
            await asyncio.gather(pool.start(spec("t/a")), return_exceptions=True)
            await asyncio.sleep(0.05)
    assert len(world.noted("engine")) == 4


async def test_an_engine_that_never_gets_ready_is_given_up(world: PoolWorld) -> None:
    """Its process does not stay."""
    pool = await world.pool(script={"never_ready": True}, startup_timeout=3.0)
    with pytest.raises(EngineGoneError, match="did not come up"):
        await pool.start(spec("t/a"))
    assert not Path(f"/proc/{world.noted('engine')[0]['pid']}").exists()
    assert world.folders() == set()


async def test_a_program_that_does_not_exist_is_an_engine_that_is_gone(world: PoolWorld) -> None:
    """The log tells what is wrong, the caller gets the port's error."""
    pool = await world.pool(command=("/nowhere/python",))
    with pytest.raises(EngineGoneError):
        await pool.start(spec("t/a"))
    assert world.folders() == set()


async def test_a_client_that_kills_its_engine_does_not_spin(world: PoolWorld) -> None:
    """An engine that dies young counts as a failed start."""
    pool = await world.pool(restart_backoff=5.0, restart_backoff_max=5.0)
    with pytest.raises(EngineGoneError):
        await pool.start(spec("t/deadly"))
    await until(lambda: not pool.engines())
    with pytest.raises(EngineGoneError, match="lately"):
        await pool.start(spec("t/b"))
    assert len(world.noted("engine")) == 1


async def test_a_spool_that_kills_engines_is_put_aside(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """It costs a few empty engines, then its clients go on without it; it is never deleted."""
    pool = await world.pool(script={"deaths_at_import": 100}, import_attempts=2)
    await pool.start(spec("t/a"))
    dead = pool.engines()[0].engine_id
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "burst 5 die"))
    await until(lambda: f"{dead}.broken" in world.folders())
    assert len(world.noted("import")) == 2
    assert len(Spool.read(world.spools / f"{dead}.broken")) == 6
    assert dead not in world.listener.forgotten
    assert [record for record in caplog.records if record.levelno == logging.ERROR and "is kept as" in record.message]


async def test_an_unreadable_spool_is_put_aside(world: PoolWorld) -> None:
    """After a few attempts, for which one engine is enough."""
    pool = await world.pool(script={"import_failure": True})
    await pool.start(spec("t/a"))
    dead = pool.engines()[0].engine_id
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "burst 5 die"))
    await until(lambda: f"{dead}.broken" in world.folders())
    assert len(world.noted("import")) == 3
    assert len(world.noted("engine")) == 2


def _leave_spool(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    spool = Spool(folder)
    for _ in range(count):
        spool.append(engine_pb2.EngineEvent(handle="t/a", connection_lost=engine_pb2.ConnectionLost()))
    spool.close()


async def test_spools_of_a_dead_worker_arrive_before_any_client_starts(world: PoolWorld) -> None:
    """From the position that the journal has; half-deleted ones are finished off, broken ones left alone."""
    for name, count in (("session-1", 300), ("session-2", 5), ("pairing-3.broken", 2), ("session-4.done", 3)):
        _leave_spool(world.spools / name, count)
    (world.spools / "session-5").mkdir()
    (world.spools / "a-file").touch()
    world.listener.positions = {"session-1": 100, "session-4": 3}
    pool = await world.pool()
    await asyncio.gather(pool.start(spec("t/a")), pool.recover_spools())
    taken = [(spool, event.position) for spool, event in world.listener.events[:-1]]
    expected = [("session-1", position) for position in range(101, 301)]
    assert sorted(taken) == expected + [("session-2", position) for position in range(1, 6)]
    assert world.listener.kinds("t/a")[-1] == "logged_in"
    assert set(world.listener.forgotten) == {"session-1", "session-2", "session-4", "session-5"}
    assert world.folders() == {"pairing-3.broken", "a-file", pool.engines()[0].engine_id}
    assert len(world.noted("engine")) == 1


async def test_nothing_left_over_starts_no_engine(world: PoolWorld) -> None:
    """Recovery is free when the last run ended well, and may be asked for again."""
    pool = await world.pool()
    await pool.recover_spools()
    await pool.recover_spools()
    assert pool.engines() == []


async def test_recovery_waits_for_engines_that_do_not_come_up(world: PoolWorld) -> None:
    """That says nothing about the spool."""
    _leave_spool(world.spools / "session-1", 4)
    pool = await world.pool(script={"deaths_at_start": 3}, import_attempts=1)
    await pool.recover_spools()
    assert len(world.listener.events) == 4
    assert len(world.noted("engine")) == 4


async def test_a_start_does_not_wait_for_ever(world: PoolWorld) -> None:
    """While the store is away, spools cannot be imported; who wants a client is told to come back."""
    _leave_spool(world.spools / "session-1", 4)
    world.listener.gate.clear()
    pool = await world.pool(start_patience=0.5)
    with pytest.raises(EngineGoneError, match="still being imported"):
        await pool.start(spec("t/a"))
    world.listener.gate.set()
    await pool.start(spec("t/a"))
    assert world.listener.kinds("t/a") == ["connection_lost"] * 4 + ["logged_in"]


async def test_a_kill_from_outside_is_named_in_the_log(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """The signal's name says whether the kernel, somebody, or Go did it."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    os.kill(pool.engines()[0].pid, signal.SIGTERM)
    await until(lambda: world.listener.lost)
    assert "died with 1 clients: killed by SIGTERM" in caplog.text
    with pytest.raises(EngineCallError):
        await pool.send(text("t/a", "hello"))
