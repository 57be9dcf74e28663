"""What goes wrong around an engine, and its end. The real client library against the simulator."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.engine_process import CommandError
from tests.support.engine_world import EngineWorld, engine_world, has_text, texts
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EngineWorld]:
    """A simulator in this process."""
    async with engine_world(tmp_path) as world:
        yield world


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (simulator_pb2.STREAM_ERROR_KIND_REPLACED, "stream_replaced"),
        (simulator_pb2.STREAM_ERROR_KIND_LOGGED_OUT, "logged_out"),
        (simulator_pb2.STREAM_ERROR_KIND_UNAVAILABLE, "connection_lost"),
    ],
)
async def test_what_the_server_does_to_a_connection_is_told(
    world: EngineWorld, fault: simulator_pb2.StreamErrorKind.ValueType, event: str
) -> None:
    """Replaced, logged out and service restarts come as events, and the session can be stopped afterwards."""
    async with world.engine() as engine:
        phone = await world.link(engine, "s")
        await world.control.SendStreamError(simulator_pb2.SendStreamErrorRequest(phone=phone, kind=fault))
        await engine.event("s", event)
        if event == "connection_lost":
            await engine.event("s", "logged_in")
        await engine.stop("s")


@pytest.mark.parametrize(
    ("code", "event"), [(401, "logged_out"), (403, "logged_out"), (405, "client_outdated"), (418, "login_refused")]
)
async def test_a_refused_login_is_told(world: EngineWorld, code: int, event: str) -> None:
    """Each reason for which WhatsApp refuses a login has its event, even one that the library cannot encode."""
    async with world.engine() as engine:
        await world.link(engine, "s")
        await engine.stop("s")
        await world.control.SetFaults(simulator_pb2.SetFaultsRequest(refuse_logins=code))
        await engine.start("s", world.database("s"))
        told = await engine.event("s", event)
        await engine.stop("s")
    if event == "logged_out":
        assert told.logged_out.code == code


async def test_a_dropped_connection_comes_back_by_itself(world: EngineWorld) -> None:
    """A lost connection is told, and so is the next login; health says how it stands."""
    async with world.engine() as engine:
        phone = await world.link(engine, "s")
        await world.control.DropConnections(simulator_pb2.DropConnectionsRequest(phone=phone))
        await engine.event("s", "connection_lost")
        await engine.event("s", "logged_in")
        count = len(engine.health)
        async with asyncio.timeout(10):
            while len(engine.health) < count + 2:
                await asyncio.sleep(0.05)
    (client,) = engine.health[-1].clients
    assert (client.handle, client.connected, client.logged_in) == ("s", True, True)
    assert engine.health[-1].rss_bytes > 20_000_000
    assert engine.health[-1].descriptors < engine.health[-1].descriptor_limit


async def test_events_outlive_a_killed_engine(world: EngineWorld) -> None:
    """After a SIGKILL a fresh engine delivers exactly what was not acknowledged, in order, and deletes the spool."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_SILENT)
    async with world.engine("first", acknowledge=False) as first:
        phone = await world.link(first, "s")
        for number in range(20):
            say = simulator_pb2.SayRequest(contact=contact, phone=phone, text=f"message {number}")
            await world.control.Say(say)
        for _ in range(20):
            await first.event("s", "message", has_text)
        await first.kill()
    seen = first.spooled("first")
    acknowledged = next(event.position for event in seen if texts([event]) == ["message 7"])

    async with world.engine("second") as second:
        last = await second.import_spool("first", first.spool, acknowledged)
        async with asyncio.timeout(10):
            while len(second.spooled("first")) < last - acknowledged:
                await asyncio.sleep(0.02)
            while first.spool.exists():
                await asyncio.sleep(0.02)
        imported = second.spooled("first")
        assert await second.import_spool("never", world.directory / "never") == 0
    assert [event.position for event in imported] == list(range(acknowledged + 1, last + 1))
    assert texts(imported) == [f"message {number}" for number in range(8, 20)]
    assert imported == seen[acknowledged:]


async def test_a_full_disk_disconnects_and_loses_nothing(world: EngineWorld) -> None:
    """When nothing can be written the session goes offline; when there is room again its events and its end come.

    The disk is full for this process only: its files may not grow beyond what the spool's segment has by now.
    """
    contact = await world.contact(simulator_pb2.BEHAVIOUR_SILENT)
    async with world.engine() as engine:
        phone = await world.link(engine, "s")
        await world.control.Say(simulator_pb2.SayRequest(contact=contact, phone=phone, text="before"))
        await engine.event("s", "message", has_text)
        await engine.event("s", "logged_in", lambda event: bool(event.logged_in.push_name))
        (segment,) = engine.spool.glob("*.spool")
        _, hard = resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size, hard))
        await world.control.SendTyping(simulator_pb2.SendTypingRequest(contact=contact, phone=phone, composing=True))
        await engine.event("s", "chat_presence")  # what is not kept is not held up
        await world.control.Say(simulator_pb2.SayRequest(contact=contact, phone=phone, text="meanwhile"))
        async with asyncio.timeout(10):
            while (await world.control.GetStats(simulator_pb2.GetStatsRequest())).connected_devices:
                await asyncio.sleep(0.05)
        count = len(engine.spooled("engine"))
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        ended = await engine.event("s", "client_ended")
        assert len(engine.spooled("engine")) > count + 1  # what the full disk held up came first
        await engine.start("s", world.database("s"))
        await engine.event("s", "logged_in")
        await world.control.Say(simulator_pb2.SayRequest(contact=contact, phone=phone, text="after"))
        await engine.event("s", "message", lambda event: texts([event]) == ["after"])
    assert ended.client_ended.reason == engine_pb2.END_REASON_STORAGE_FULL
    positions = [event.position for event in engine.spooled("engine")]
    assert positions == list(range(1, len(positions) + 1))


async def test_the_spool_of_a_live_engine_is_not_imported(world: EngineWorld) -> None:
    """Importing what is still written would deliver twice: it is refused."""
    async with world.engine("first") as first, world.engine("second") as second:
        with pytest.raises(CommandError) as refused:
            await second.import_spool("first", first.spool)
    assert refused.value.failure.kind == engine_pb2.FAILURE_KIND_INTERNAL


async def test_shutdown_spools_everything_and_exits(world: EngineWorld) -> None:
    """Shutdown ends all clients, tells the last position, and the process ends with status 0."""
    async with world.engine() as engine:
        await world.link(engine, "a")
        await world.link(engine, "b")
        done = await engine.call(engine_pb2.ControlRequest(shutdown=engine_pb2.Shutdown()))
        async with asyncio.timeout(10):
            assert await engine.process.wait() == 0
    assert done.done.spooled == max(event.position for event in engine.spooled("engine"))


async def test_sigterm_ends_the_engine_gracefully(world: EngineWorld) -> None:
    """SIGTERM stops the clients and exits with status 0; the simulator sees no connection any more."""
    async with world.engine() as engine:
        await world.link(engine, "a")
        engine.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await engine.process.wait() == 0
    assert (await world.control.GetStats(simulator_pb2.GetStatsRequest())).connected_devices == 0


async def test_the_engine_ends_when_its_worker_is_gone(world: EngineWorld) -> None:
    """The end of the command stream is the end of the engine."""
    async with world.engine() as engine:
        await world.link(engine, "a")
    assert engine.process.returncode == 0
