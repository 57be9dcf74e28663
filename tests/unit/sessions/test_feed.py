"""The feed: streams without gaps or repeats, whatever their reader does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from gateway_worker.domain.errors import CursorExpiredError, DrainingError, InvalidCursorError, SessionNotFoundError
from gateway_worker.domain.ids import DEFAULT_TENANT, SessionId, TenantId
from gateway_worker.ports.journal import Append
from gateway_worker.sessions import feed as feed_module
from gateway_worker.sessions.encode import draft
from tests.support.world import KEY, SESSION, World, until
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2, worker_pb2


async def write(world: World, number: int, session: str = SESSION) -> None:
    """Commit ``number`` events."""
    key = type(KEY)(DEFAULT_TENANT, SessionId(session))
    for index in range(number):
        event = event_pb2.Event(message=event_pb2.MessageReceived(id=f"{session}-{index}"))
        await world.journal.commit([Append(draft(key, event, 1_700_000_000.0))])


async def create(world: World, session: str = SESSION) -> None:
    """Create a session: one event."""
    await world.gateway.create_session(DEFAULT_TENANT, worker_pb2.CreateSessionRequest(session_id=session))


async def test_replay_goes_over_to_live_without_gap_or_repeat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many times more events than fit in memory, read while they are written."""
    monkeypatch.setattr(feed_module, "_RECENT", 16)
    monkeypatch.setattr(feed_module, "_PAGE", 7)
    await create(world)
    await write(world, 100)
    seen: list[int] = []

    async def read() -> None:
        request = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)
        async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
            async for response in stream:
                if response.event.sequence:
                    seen.append(response.event.sequence)
                    await asyncio.sleep(0)
                if response.event.sequence == 301:
                    return

    reader = asyncio.create_task(read())
    await write(world, 200)
    await asyncio.wait_for(reader, 10)
    assert seen == list(range(1, 302))


async def test_every_cursor_resumes_exactly_after_itself(world: World) -> None:
    """From the database and from memory alike."""
    await create(world)
    await write(world, 20)
    everything = [event for event in await world.events() if event.sequence]
    for index, event in enumerate(everything):
        rest = [later for later in await world.events(cursor=event.cursor) if later.sequence]
        assert rest == everything[index + 1 :]


async def test_filters_show_as_holes_and_heartbeats_pass_them(world: World) -> None:
    """A heartbeat's cursor goes beyond what the filter left out, so that it is not read again."""
    await create(world)
    await create(world, "other")
    await write(world, 5)
    await write(world, 5, "other")
    only = await world.events(session_ids=["other"], kinds=[event_pb2.EVENT_KIND_MESSAGE])
    assert [event.message.id for event in only] == [f"other-{index}" for index in range(5)]
    request = worker_pb2.SessionEventsRequest(kinds=[event_pb2.EVENT_KIND_PAIRED])
    request.position = worker_pb2.START_POSITION_EARLIEST
    request.heartbeat_interval.FromMilliseconds(20)
    async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
        response = await anext(stream)
    assert response.HasField("heartbeat")
    assert [event for event in await world.events(cursor=response.heartbeat.cursor) if event.sequence] == []


async def test_a_live_event_wakes_a_waiting_stream(world: World) -> None:
    """Without waiting for a heartbeat."""
    await create(world)
    request = worker_pb2.SessionEventsRequest(kinds=[event_pb2.EVENT_KIND_MESSAGE])
    async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await write(world, 1)
        response = await asyncio.wait_for(waiting, 1)
        assert response.event.message.id == "shop-0"


async def test_ephemeral_events_have_no_place_in_the_journal(world: World) -> None:
    """They reach the streams that are open and nobody else."""
    await world.link()
    presence = event_pb2.ChatPresence(chat="6281200000101@s.whatsapp.net", activity=event_pb2.CHAT_ACTIVITY_TYPING)
    request = worker_pb2.SessionEventsRequest(kinds=[event_pb2.EVENT_KIND_CHAT_PRESENCE])
    async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        world.gateway.listener.on_ephemeral(engine_pb2.EngineEvent(handle=KEY.handle, chat_presence=presence))
        event = (await asyncio.wait_for(waiting, 1)).event
    assert (event.chat_presence, event.sequence, event.cursor) == (presence, 0, "")
    assert not [event for event in await world.events() if event.HasField("chat_presence")]


async def test_a_reader_that_stops_holds_nobody_up_and_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from the journal when memory has moved on."""
    monkeypatch.setattr(feed_module, "_RECENT", 8)
    await create(world)
    request = worker_pb2.SessionEventsRequest(kinds=[event_pb2.EVENT_KIND_MESSAGE])
    async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        await write(world, 1)
        first = (await waiting).event
        await write(world, 100)  # nobody reads meanwhile
        rest = [(await anext(stream)).event.sequence for _ in range(100)]
    assert rest == list(range(first.sequence + 1, first.sequence + 101))


async def test_named_consumers_go_on_where_they_acknowledged(world: World) -> None:
    """A new one starts with the earliest; an older acknowledgement changes nothing."""
    await create(world)
    await write(world, 5)
    events = [event for event in await world.events(consumer="backend") if event.sequence]
    assert len(events) == 6
    stored = await world.gateway.acknowledge_events(DEFAULT_TENANT, "backend", events[2].cursor)
    assert stored == events[2].cursor
    assert await world.gateway.acknowledge_events(DEFAULT_TENANT, "backend", events[0].cursor) == events[2].cursor
    rest = [event.sequence for event in await world.events(consumer="backend") if event.sequence]
    assert rest == [4, 5, 6]


async def test_cursors_that_are_none_are_refused(world: World) -> None:
    """Foreign text, and places beyond the end."""
    await create(world)
    for cursor in ("x", "p", "pzz", "p-1", "p" + "f" * 40, "pfffff"):
        with pytest.raises(InvalidCursorError):
            await world.events(cursor=cursor)
        with pytest.raises(InvalidCursorError):
            await world.gateway.acknowledge_events(DEFAULT_TENANT, "backend", cursor)
    with pytest.raises(SessionNotFoundError):
        await world.events(session_ids=["nope"])


async def test_a_cursor_older_than_the_journal_is_told_the_oldest(world: World) -> None:
    """And the one it is told works."""
    await create(world)
    await write(world, 5)
    events = [event for event in await world.events() if event.sequence]
    assert await world.journal.prune(world.clock.time() + 1) == 6
    await write(world, 2)
    with pytest.raises(CursorExpiredError) as caught:
        await world.events(cursor=events[0].cursor)
    oldest = caught.value.metadata["oldest_cursor"]
    assert [event.sequence for event in await world.events(cursor=oldest) if event.sequence] == [7, 8]


async def test_a_reader_beneath_which_the_journal_is_pruned_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lagged behind the retention: it ends with the oldest cursor instead of skipping silently."""
    monkeypatch.setattr(feed_module, "_RECENT", 4)
    monkeypatch.setattr(feed_module, "_PAGE", 5)
    await create(world)
    await write(world, 30)
    request = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)
    async with aclosing(world.gateway.events(DEFAULT_TENANT, request)) as stream:
        read = [(await anext(stream)).event.sequence for _ in range(4)]
        await world.journal.prune(world.clock.time() + 1)
        await write(world, 10)

        async def read_on() -> None:
            async for response in stream:
                read.append(response.event.sequence)  # noqa: PERF401 - what was read before the error counts

        with pytest.raises(CursorExpiredError):
            await read_on()
    assert read[1:] == list(range(1, len(read)))


async def test_a_drain_ends_streams_after_their_last_event_with_a_cursor(world: World) -> None:
    """Nothing is left out, and the cursor resumes behind it."""
    await create(world)
    seen = []
    request = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)

    async def read() -> None:
        async for response in world.gateway.events(DEFAULT_TENANT, request):
            seen.append(response)  # noqa: PERF401 - the test looks at it meanwhile

    reader = asyncio.create_task(read())
    await until(lambda: len(seen) == 2)
    await write(world, 3)
    world.gateway.close_streams()
    with pytest.raises(DrainingError):
        await asyncio.wait_for(reader, 2)
    assert [response.event.sequence for response in seen[:-1]] == [0, 1, 2, 3, 4]
    assert seen[-1].heartbeat.cursor == seen[-2].event.cursor


async def test_erased_sessions_leave_memory_too(world: World) -> None:
    """After DeleteSession not even a stream that lags is shown their events."""
    await create(world)
    await write(world, 3)
    await create(world, "other")
    await world.gateway.delete_session(DEFAULT_TENANT, SESSION)
    shown = [event for event in await world.events() if event.sequence]
    assert [event.session_id for event in shown] == ["other", SESSION]
    assert shown[1].HasField("deleted")


async def test_tenants_do_not_see_each_other(world: World) -> None:
    """A stream shows its own tenant only."""
    await create(world)
    await write(world, 3)
    other = TenantId("other")
    request = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)
    request.heartbeat_interval.FromMilliseconds(20)
    async with aclosing(world.gateway.events(other, request)) as stream:
        assert (await anext(stream)).HasField("heartbeat")
