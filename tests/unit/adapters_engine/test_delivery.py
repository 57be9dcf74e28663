"""Events: in order, exactly once, never skipped, never faster than they are taken."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway_worker.adapters.engine.backoff import Backoff
from gateway_worker.adapters.engine.delivery import EventDelivery
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.engines import EngineGoneError
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import RecordingListener, until
from wagateway.engine.v1 import engine_pb2


async def test_events_are_taken_then_acknowledged(world: PoolWorld) -> None:
    """The engine may forget what the listener has, and nothing else."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await pool.send(text("t/a", "burst 500"))
    await until(lambda: len(world.listener.texts("t/a")) == 500)
    assert world.listener.texts("t/a") == [f"t/a#{number}" for number in range(500)]
    positions = [event.position for _, event in world.listener.events]
    assert positions == list(range(1, 502))
    await until(lambda: world.noted("acknowledged")[-1]["position"] == 501)
    engine_id = pool.engines()[0].engine_id
    assert world.noted("opened")[0] == world.noted("opened")[0] | {"spool": engine_id, "position": 0}
    assert {note["spool"] for note in world.noted("acknowledged")} == {engine_id}


async def test_what_comes_while_the_store_is_busy_shares_a_call(world: PoolWorld) -> None:
    """A burst costs a few transactions, not one an event."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await until(lambda: world.listener.events)
    world.listener.sizes.clear()
    world.listener.gate.clear()
    await pool.send(text("t/a", "burst 400"))
    await asyncio.sleep(0.3)
    world.listener.gate.set()
    await until(lambda: len(world.listener.texts("t/a")) == 400)
    assert len(world.listener.sizes) <= 3
    assert sum(world.listener.sizes) == 400


async def test_a_store_that_is_away_gets_the_events_later(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is acknowledged, lost or given twice meanwhile."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await until(lambda: world.listener.events)
    world.listener.failures.extend(StoreUnavailableError() for _ in range(4))
    await pool.send(text("t/a", "burst 10"))
    await until(lambda: len(world.listener.texts("t/a")) == 10)
    assert [event.position for _, event in world.listener.events] == list(range(1, 12))
    assert "the store does not take events" in caplog.text


async def test_a_fault_in_the_listener_skips_nothing_and_tells_no_content(
    world: PoolWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Events before the one at fault get through; the log names place and kind only."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await until(lambda: world.listener.events)
    words = "secret words of a message"
    fault = ValueError(words)
    world.listener.gate.clear()
    await pool.send(text("t/a", "burst 6"))
    await asyncio.sleep(0.1)
    world.listener.failures.extend([None, fault, None, None, fault, fault])
    world.listener.gate.set()
    await until(lambda: len(world.listener.texts("t/a")) == 6)
    assert world.listener.texts("t/a") == [f"t/a#{number}" for number in range(6)]
    assert words not in caplog.text
    assert "ValueError" in caplog.text
    assert "(message)" in caplog.text


async def test_ephemeral_events_and_reports_come_at_once(world: PoolWorld) -> None:
    """They do not wait for the store."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    world.listener.gate.clear()
    await pool.send(text("t/a", "burst 3"))
    await pool.send(text("t/a", "type"))
    await until(lambda: world.listener.ephemeral)
    reports = len(world.listener.reports)
    await until(lambda: len(world.listener.reports) > reports + 2)
    assert world.listener.texts("t/a") == []
    world.listener.gate.set()


async def test_a_fault_about_an_ephemeral_event_ends_nothing(
    world: PoolWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and events keep coming."""
    words = "secret words of a message"

    def fail(_: engine_pb2.EngineEvent) -> None:
        raise ValueError(words)

    monkeypatch.setattr(world.listener, "on_ephemeral", fail)
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await pool.send(text("t/a", "type"))
    await pool.send(text("t/a", "burst 1"))
    await until(lambda: world.listener.texts("t/a"))
    assert words not in caplog.text
    assert "a report was not taken: ValueError" in caplog.text


async def test_stop_waits_until_the_client_s_events_are_taken(world: PoolWorld) -> None:
    """Neither the engine's answer nor the first failure of the store is enough."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    world.listener.gate.clear()
    await pool.send(text("t/a", "burst 20"))
    stop = asyncio.create_task(pool.stop("t/a"))
    await until(lambda: world.noted("stop"))
    await asyncio.sleep(0.2)
    assert not stop.done()
    assert not pool.is_live("t/a")
    world.listener.failures.extend([None, StoreUnavailableError()])
    world.listener.gate.set()
    await stop
    assert len(world.listener.texts("t/a")) == 20
    assert world.listener.kinds("t/a")[-1] == "connection_lost"


class Acknowledgements:
    """What the delivery acknowledged."""

    def __init__(self) -> None:
        self.positions: list[tuple[str, int]] = []

    async def __call__(self, spool_id: str, position: int) -> None:
        """Keep an acknowledgement."""
        self.positions.append((spool_id, position))


def _events(first: int, last: int) -> list[engine_pb2.EngineEvent]:
    return [engine_pb2.EngineEvent(position=position, handle="t/a") for position in range(first, last + 1)]


def _delivery(listener: RecordingListener) -> tuple[EventDelivery, Acknowledgements]:
    acknowledgements = Acknowledgements()
    return EventDelivery(listener, acknowledgements, lambda _: None, Backoff(0.01, 0.05)), acknowledgements


async def test_events_that_were_taken_before_are_dropped() -> None:
    """An engine that repeats itself does no harm."""
    listener = RecordingListener()
    delivery, acknowledgements = _delivery(listener)
    delivery.begin("s", 3)
    run = asyncio.create_task(delivery.run())
    await delivery.put("s", _events(2, 5))
    await delivery.put("s", _events(1, 5))
    await delivery.committed("s", 5)
    delivery.end()
    await run
    assert [event.position for _, event in listener.events] == [4, 5]
    assert acknowledgements.positions[-1] == ("s", 5)


async def test_a_gap_is_logged_and_what_is_there_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Holding back the rest would lose more."""
    listener = RecordingListener()
    delivery, _ = _delivery(listener)
    delivery.begin("s", 0)
    run = asyncio.create_task(delivery.run())
    await delivery.put("s", _events(1, 2) + _events(5, 6))
    await delivery.committed("s", 6)
    delivery.end()
    await run
    assert [event.position for _, event in listener.events] == [1, 2, 5, 6]
    assert caplog.records[0].levelno == logging.ERROR


async def test_a_full_queue_holds_the_stream_up() -> None:
    """What does not fit stays in the engine's spool."""
    listener = RecordingListener()
    listener.gate.clear()
    delivery, _ = _delivery(listener)
    delivery.begin("s", 0)
    run = asyncio.create_task(delivery.run())
    put = 0

    async def read() -> None:
        nonlocal put
        for batch in range(200):
            await delivery.put("s", _events(batch * 100 + 1, batch * 100 + 100))
            put += 1

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    assert 30 < put < 60
    listener.gate.set()
    await reader
    await delivery.committed("s", 20_000)
    delivery.end()
    await run
    assert len(listener.events) == 20_000


async def test_the_end_fails_who_waits_and_frees_the_reader() -> None:
    """Nobody waits for a dead engine; the call under way is not cut off."""
    listener = RecordingListener()
    listener.gate.clear()
    delivery, _ = _delivery(listener)
    delivery.begin("s", 0)
    run = asyncio.create_task(delivery.run())
    await delivery.put("s", _events(1, 1))
    reader = asyncio.create_task(delivery.put("s", _events(2, 9000)))
    waiter = asyncio.create_task(delivery.committed("s", 9000))
    await asyncio.sleep(0.05)
    delivery.end()
    await reader
    assert not run.done()
    listener.gate.set()
    await run
    with pytest.raises(EngineGoneError):
        await waiter
    with pytest.raises(EngineGoneError):
        await delivery.committed("s", 9000)
    await delivery.committed("s", 1)
    assert len(listener.events) == 1
