"""Commands: multiplexed, answered by name, never left hanging."""

from __future__ import annotations

import asyncio

import pytest

from gateway_worker.ports.engines import EngineCallError, EngineGoneError, Engines
from tests.support.pool_world import PoolWorld, spec, text
from tests.support.recording_listener import until
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2


async def test_the_pool_is_the_port_s_implementation(world: PoolWorld) -> None:
    """The type checker holds the pool against the port; at run time every call is there."""
    engines: Engines = await world.pool()
    assert not engines.is_live("t/a")
    assert not engines.is_linking_engine("t/a")


async def test_a_client_starts_sends_and_stops(world: PoolWorld) -> None:
    """A stop returns when the client's last event was taken, and then the client is not live."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    assert pool.is_live("t/a")
    assert not pool.is_linking_engine("t/a")
    sent = await pool.send(text("t/a", "hello"))
    assert sent.message_id == "ID-hello"
    await pool.presence(engine_pb2.SendPresence(handle="t/a", available=True))
    await pool.chat_presence(
        engine_pb2.SendChatPresence(handle="t/a", chat="2@s.whatsapp.net", activity=event_pb2.CHAT_ACTIVITY_TYPING)
    )
    assert await pool.pair_phone(engine_pb2.PairPhone(handle="t/a", phone_number="6281200000001")) == "ABCD-EFGH"
    await pool.stop("t/a")
    assert not pool.is_live("t/a")
    assert world.listener.kinds("t/a") == ["logged_in", "connection_lost"]
    await pool.stop("t/a")  # does nothing
    assert world.noted("start")[0]["database"] == "/nowhere/t/a"


async def test_answers_find_their_commands_in_any_order(world: PoolWorld) -> None:
    """Many commands share the stream; a late answer delays no other and reaches the right one."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    late = asyncio.create_task(pool.send(text("t/a", "late 2")))
    sent = await asyncio.gather(*(pool.send(text("t/a", f"m{number}")) for number in range(100)))
    assert [answer.message_id for answer in sent] == [f"ID-m{number}" for number in range(100)]
    assert not late.done()
    assert (await late).message_id == "ID-late 2"


async def test_a_failure_is_raised_with_what_the_engine_told(world: PoolWorld) -> None:
    """The failure's kind and WhatsApp's code reach the caller."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    with pytest.raises(EngineCallError) as caught:
        await pool.send(text("t/a", "refuse"))
    assert caught.value.failure.kind == engine_pb2.FAILURE_KIND_REFUSED
    assert caught.value.failure.server_code == 463


async def test_commands_for_clients_that_do_not_run_are_refused_here(world: PoolWorld) -> None:
    """No engine is asked, and none is started."""
    pool = await world.pool()
    with pytest.raises(EngineCallError) as caught:
        await pool.send(text("t/a", "hello"))
    assert caught.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE
    with pytest.raises(EngineCallError):
        await pool.logout("t/a")
    assert pool.engines() == []


async def test_a_cancelled_command_that_was_not_written_is_never_sent(world: PoolWorld) -> None:
    """Its place in the queue is dropped; the stream goes on."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    doomed = asyncio.create_task(pool.send(text("t/a", "burst 5")))
    asyncio.get_running_loop().call_soon(doomed.cancel)
    await asyncio.wait([doomed])
    assert doomed.cancelled()
    await pool.send(text("t/a", "hello"))
    await pool.stop("t/a")
    assert world.listener.texts("t/a") == []


async def test_a_cancelled_command_that_was_written_breaks_nothing(world: PoolWorld) -> None:
    """Its answer is dropped; others keep coming."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await pool.send(text("t/a", "late 0.2"))
    await asyncio.sleep(0.2)
    assert (await pool.send(text("t/a", "still here"))).message_id == "ID-still here"


async def test_death_fails_every_pending_command(world: PoolWorld) -> None:
    """Their fate is open: EngineGoneError, at once."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    pending = [asyncio.create_task(pool.send(text("t/a", "late"))) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "die"))
    results = await asyncio.gather(*pending, return_exceptions=True)
    assert [type(result) for result in results] == [EngineGoneError] * 20
    assert not pool.is_live("t/a")
    await until(lambda: world.listener.lost)
    assert world.listener.lost[0][:2] == (["t/a"], False)


async def test_an_engine_that_only_hangs_up_is_killed(world: PoolWorld) -> None:
    """Streams that end are an engine's end, whatever its process does."""
    pool = await world.pool(script={"survives_shutdown": True})
    await pool.start(spec("t/a"))
    with pytest.raises(EngineGoneError):
        await pool.send(text("t/a", "hang_up"))
    await until(lambda: world.listener.lost)
    first = world.noted("engine")[0]["id"]
    await until(lambda: first not in [engine.engine_id for engine in pool.engines()])


async def test_a_refused_start_leaves_nothing(world: PoolWorld) -> None:
    """What the engine told about it is delivered before the refusal is raised."""
    pool = await world.pool()
    with pytest.raises(EngineCallError):
        await pool.start(spec("t/refused"))
    assert world.listener.kinds("t/refused") == ["client_ended"]
    assert not pool.is_live("t/refused")
    assert pool.engines()[0].clients == ()


async def test_a_client_that_ended_by_itself_is_not_live_and_can_be_started_again(world: PoolWorld) -> None:
    """Its engine is asked to stop what is left of it first."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await pool.send(text("t/a", "end"))
    await until(lambda: "client_ended" in world.listener.kinds("t/a"))
    assert not pool.is_live("t/a")
    await pool.start(spec("t/a"))
    assert pool.is_live("t/a")
    assert [note["handle"] for note in world.noted("stop")] == ["t/a"]
    assert len(world.noted("start")) == 2


async def test_logout_stops_the_client_after_its_events(world: PoolWorld) -> None:
    """The place is free when logout returns."""
    pool = await world.pool()
    await pool.start(spec("t/a"))
    await pool.logout("t/a")
    assert world.listener.kinds("t/a") == ["logged_in", "logged_out"]
    assert not pool.is_live("t/a")
    assert pool.engines()[0].clients == ()


async def test_starting_a_live_client_does_nothing(world: PoolWorld) -> None:
    """Also when two starts overlap."""
    pool = await world.pool()
    await asyncio.gather(pool.start(spec("t/a")), pool.start(spec("t/a")))
    await pool.start(spec("t/a"))
    assert len(world.noted("start")) == 1


async def test_a_start_goes_on_when_its_caller_is_cancelled(world: PoolWorld) -> None:
    """A half-started client would be nobody's."""
    pool = await world.pool()
    start = asyncio.create_task(pool.start(spec("t/a")))
    await asyncio.sleep(0.01)
    start.cancel()
    await asyncio.wait([start])
    await until(lambda: pool.is_live("t/a"))
    await pool.stop("t/a")
    assert world.listener.kinds("t/a") == ["logged_in", "connection_lost"]
