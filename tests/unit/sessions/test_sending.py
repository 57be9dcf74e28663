"""The way of a message out: order, idempotency, cancellation, waiting and fate."""

from __future__ import annotations

import asyncio
import contextlib
import io
from pathlib import Path

import apsw
import pytest
from google.protobuf.duration_pb2 import Duration
from PIL import Image

from gateway_worker.domain.errors import (
    AccountRestrictedError,
    EngineUnavailableError,
    FateUnknownError,
    GatewayError,
    IdempotencyKeyReusedError,
    InvalidMediaError,
    InvalidRecipientError,
    LoggedOutError,
    MessageRefusedError,
    NoRecipientError,
    NotConnectedError,
    NotLinkedError,
    ReconnectingError,
    SessionNotFoundError,
    UploadFailedError,
    WaitTooLongError,
)
from gateway_worker.domain.ids import DEFAULT_TENANT, SessionId, SessionKey, TenantId
from gateway_worker.ports.engines import EngineGoneError
from gateway_worker.sessions.api import SendCommand
from tests.support.fake_engines import failure
from tests.support.world import KEY, SESSION, World, command, open_world, until
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2, event_pb2, worker_pb2

CHAT = "6281200000101@s.whatsapp.net"


def store_secret(world: World, secret: bytes, message_id: str) -> None:
    """Do what the client library does before the wire."""
    generation = world.gateway._actors[KEY].generation  # white box: only an engine knows the path
    path = world.data / "sessions" / KEY.tenant / KEY.session / f"{generation}.db"
    connection = apsw.Connection(str(path))
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS whatsmeow_message_secrets "
            "(our_jid TEXT, chat_jid TEXT, sender_jid TEXT, message_id TEXT, key BLOB)"
        )
        connection.execute(
            "INSERT INTO whatsmeow_message_secrets VALUES ('me', ?, 'me', ?, ?)", (CHAT, message_id, secret)
        )
    finally:
        connection.close()


async def test_a_send_is_answered_with_whatsapps_ack(world: World) -> None:
    """Id, chat, time and status come from the ack, and the stream tells the same."""
    await world.link()
    sent = await world.send("hello", "081200000101")
    assert (sent.id, sent.chat, sent.session_id) == ("ID1", CHAT, SESSION)
    assert sent.status == event_pb2.MESSAGE_STATUS_SERVER_ACK
    assert sent.time.seconds == 1_700_000_000
    assert not sent.repeated_call
    (status,) = [event.message_status for event in await world.events() if event.HasField("message_status")]
    assert (status.message_id, status.status, status.recipient.phone_number) == (
        "ID1",
        event_pb2.MESSAGE_STATUS_SERVER_ACK,
        "+6281200000101",
    )


async def test_the_engine_gets_resolved_options(world: World) -> None:
    """Quoted senders and mentions arrive as JIDs, with a fresh secret of 32 bytes for each send."""
    await world.link()
    quoted = content_pb2.QuotedMessage(message_id="Q", sender="0812-0000-0102", text="before")
    for _ in range(2):
        await world.send(quoted=quoted, mentions=["+6281200000103"])
    first, second = world.engines.sent
    assert first.quoted.sender == "6281200000102@s.whatsapp.net"
    assert list(first.mentions) == ["6281200000103@s.whatsapp.net"]
    assert len(first.message_secret) == len(second.message_secret) == 32
    assert first.message_secret != second.message_secret


async def test_an_image_passes_as_a_file_that_is_gone_afterwards(world: World) -> None:
    """The engine reads the bytes from a private file; content carries none."""
    await world.link()
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    seen: list[bytes] = []

    def look(message: engine_pb2.SendMessage) -> None:
        seen.append(Path(message.media_path).read_bytes())
        assert not message.content.image.HasField("source")

    world.engines.outcome = look
    image = content_pb2.ImageContent(source=content_pb2.MediaSource(inline=buffer.getvalue()), caption="look")
    content = content_pb2.Content(image=image)
    await world.gateway.send(
        DEFAULT_TENANT, SendCommand(SESSION, "+6281200000101", content, content_pb2.SendOptions(), None)
    )
    assert seen == [buffer.getvalue()]
    assert not Path(world.engines.sent[0].media_path).exists()


async def test_messages_of_a_chat_keep_their_order(world: World) -> None:
    """Calls of one chat reach the engine in the order in which they came, one at a time."""
    await world.link()
    world.engines.hold.clear()
    sends = [asyncio.create_task(world.send(str(number))) for number in range(10)]
    await until(lambda: len(world.engines.sent) == 1)
    await asyncio.sleep(0.05)
    assert len(world.engines.sent) == 1, "one send of a session is with the engine at a time"
    world.engines.hold.set()
    await asyncio.gather(*sends)
    assert [message.content.text.text for message in world.engines.sent] == [str(number) for number in range(10)]


async def test_typing_in_one_chat_delays_no_other(world: World) -> None:
    """A person typing to one friend does not stop the worker from writing to another."""
    await world.link()
    slow = asyncio.create_task(
        world.send("slow", human=content_pb2.HumanSimulation(typing=Duration(nanos=400_000_000)))
    )
    await until(lambda: len(world.engines.typed) == 1)
    await world.send("quick", "+6281200000102")
    assert [message.content.text.text for message in world.engines.sent] == ["quick"]
    await slow
    activities = [presence.activity for presence in world.engines.typed]
    assert activities == [event_pb2.CHAT_ACTIVITY_TYPING, event_pb2.CHAT_ACTIVITY_PAUSED]


async def test_typing_that_cannot_be_shown_does_not_stop_the_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A presence that fails is no reason not to send."""
    await world.link()

    async def fail(_: engine_pb2.SendChatPresence) -> None:
        raise failure(engine_pb2.FAILURE_KIND_INTERNAL)

    monkeypatch.setattr(world.engines, "chat_presence", fail)
    assert (await world.send(human=content_pb2.HumanSimulation(typing=Duration(nanos=1_000_000)))).id


async def test_the_same_key_and_content_answer_the_first_result(world: World) -> None:
    """A repeated call sends nothing and says so; other forms of the same number are the same recipient."""
    await world.link()
    first = await world.send(idempotency_key="order-1")
    again = await world.send("hi", "081200000101", idempotency_key="order-1")
    assert (again.id, again.time, again.repeated_call) == (first.id, first.time, True)
    assert len(world.engines.sent) == 1


async def test_a_key_answers_after_a_restart_and_while_not_connected(world: World, data: Path) -> None:
    """The journal remembers; the session need not be connected to be told."""
    await world.link()
    first = await world.send(idempotency_key="order-1")
    await world.gateway.disconnect_session(DEFAULT_TENANT, SESSION)
    async with open_world(data) as later:
        again = await later.send(idempotency_key="order-1")
        assert (again.id, again.repeated_call) == (first.id, True)


async def test_a_key_with_other_content_is_refused(world: World) -> None:
    """Reusing a key by mistake is told, while the first is under way and afterwards."""
    await world.link()
    world.engines.hold.clear()
    first = asyncio.create_task(world.send("one", idempotency_key="order-1"))
    await until(lambda: bool(world.engines.sent))
    with pytest.raises(IdempotencyKeyReusedError):
        await world.send("two", idempotency_key="order-1")
    world.engines.hold.set()
    await first
    with pytest.raises(IdempotencyKeyReusedError):
        await world.send("two", idempotency_key="order-1")
    assert len(world.engines.sent) == 1


async def test_the_same_key_under_way_waits_for_the_first(world: World) -> None:
    """Two calls at once are one message, also when the first caller goes away."""
    await world.link()
    world.engines.hold.clear()
    first = asyncio.create_task(world.send(idempotency_key="order-1"))
    await until(lambda: bool(world.engines.sent))
    second = asyncio.create_task(world.send(idempotency_key="order-1"))
    await asyncio.sleep(0.02)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    world.engines.hold.set()
    result = await second
    assert result.repeated_call
    assert len(world.engines.sent) == 1


async def test_a_call_cancelled_in_the_queue_sends_nothing_and_frees_its_key(world: World) -> None:
    """Nothing reaches the engine; the same key can be used at once, for other content too."""
    await world.link()
    world.engines.hold.clear()
    blocking = asyncio.create_task(world.send("first"))
    await until(lambda: bool(world.engines.sent))
    queued = asyncio.create_task(world.send("never", idempotency_key="order-1"))
    elsewhere = asyncio.create_task(world.send("never", "+6281200000102", idempotency_key="order-2"))
    await asyncio.sleep(0.05)
    for task in (queued, elsewhere):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    world.engines.hold.set()
    await blocking
    await world.send("instead", idempotency_key="order-1")
    await world.send("instead", idempotency_key="order-2")
    assert [message.content.text.text for message in world.engines.sent] == ["first", "instead", "instead"]
    assert await world.outbox.unsettled() == []


async def test_a_call_cancelled_after_the_engine_has_it_is_finished(world: World) -> None:
    """The message is journalled without its caller, and its key answers."""
    await world.link()
    world.engines.hold.clear()
    call = asyncio.create_task(world.send(idempotency_key="order-1"))
    await until(lambda: bool(world.engines.sent))
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    world.engines.hold.set()
    result = await world.send(idempotency_key="order-1")
    assert (result.id, result.repeated_call) == ("ID1", True)
    assert len(world.engines.sent) == 1


async def test_a_wait_beyond_the_deadline_is_refused_at_once(world: World) -> None:
    """Nothing is sent, and the call learns when to try again without waiting for it."""
    await world.link()
    human = content_pb2.HumanSimulation(typing=Duration(seconds=30))
    with pytest.raises(WaitTooLongError) as caught:
        await world.gateway.send(DEFAULT_TENANT, command(human=human, time_left=5.0))
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 20
    assert not world.engines.sent
    assert not world.engines.typed
    await world.send()


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        (engine_pb2.FAILURE_KIND_REFUSED, 479, MessageRefusedError),
        (engine_pb2.FAILURE_KIND_REFUSED, 463, AccountRestrictedError),
        (engine_pb2.FAILURE_KIND_NOT_CONNECTED, 0, ReconnectingError),
        (engine_pb2.FAILURE_KIND_NOT_LINKED, 0, LoggedOutError),
        (engine_pb2.FAILURE_KIND_INVALID_MEDIA, 0, InvalidMediaError),
        (engine_pb2.FAILURE_KIND_UPLOAD_FAILED, 0, UploadFailedError),
        (engine_pb2.FAILURE_KIND_NO_RECIPIENT, 0, NoRecipientError),
        (engine_pb2.FAILURE_KIND_NOT_LIVE, 0, EngineUnavailableError),
        (engine_pb2.FAILURE_KIND_SHUTTING_DOWN, 0, EngineUnavailableError),
        (engine_pb2.FAILURE_KIND_INTERNAL, 0, EngineUnavailableError),
    ],
)
async def test_what_was_not_delivered_frees_its_key(
    world: World, kind: engine_pb2.FailureKind.ValueType, code: int, error: type[GatewayError]
) -> None:
    """Each refusal has its error, and the same key may try again."""
    await world.link()
    world.engines.outcome = lambda _: failure(kind, code)
    with pytest.raises(error) as caught:
        await world.send(idempotency_key="order-1")
    if code:
        assert caught.value.metadata == {"server_code": str(code)}
    world.engines.outcome = lambda _: None
    assert not (await world.send("other content", idempotency_key="order-1")).repeated_call


@pytest.mark.parametrize("lost", [failure(engine_pb2.FAILURE_KIND_FATE_UNKNOWN), EngineGoneError()])
async def test_no_answer_and_no_trace_means_never_sent(world: World, lost: Exception) -> None:
    """The secret is not in the session's database: the message never reached the wire, and a retry is safe."""
    await world.link()
    world.engines.outcome = lambda _: lost
    with pytest.raises((ReconnectingError, EngineUnavailableError)):
        await world.send(idempotency_key="order-1")
    world.engines.outcome = lambda _: None
    assert not (await world.send(idempotency_key="order-1")).repeated_call


@pytest.mark.parametrize("lost", [failure(engine_pb2.FAILURE_KIND_FATE_UNKNOWN), EngineGoneError()])
async def test_no_answer_but_a_trace_is_unknown_until_a_receipt_settles_it(world: World, lost: Exception) -> None:
    """The error names the message id; the key repeats the answer; a receipt makes it a success."""
    await world.link()

    def lose(message: engine_pb2.SendMessage) -> Exception:
        store_secret(world, message.message_secret, "3EB0TRACE")
        return lost

    world.engines.outcome = lose
    for _ in range(2):
        with pytest.raises(FateUnknownError) as caught:
            await world.send(idempotency_key="order-1")
        assert caught.value.metadata == {"message_id": "3EB0TRACE"}
    assert len(world.engines.sent) == 1, "never repeated silently"
    receipt = engine_pb2.ReceiptArrived(chat=CHAT, message_ids=["3EB0TRACE"], status=event_pb2.MESSAGE_STATUS_DELIVERED)
    await world.engines.tell(KEY.handle, receipt=receipt)
    settled = await world.send(idempotency_key="order-1")
    assert (settled.id, settled.status, settled.repeated_call) == (
        "3EB0TRACE",
        event_pb2.MESSAGE_STATUS_DELIVERED,
        True,
    )


async def test_a_receipt_that_overtakes_the_answer_is_not_lost(world: World) -> None:
    """The stream tells SERVER_ACK and then DELIVERED, in this order."""
    await world.link()
    world.engines.hold.clear()
    call = asyncio.create_task(world.send())
    await until(lambda: bool(world.engines.sent))
    receipt = engine_pb2.ReceiptArrived(chat=CHAT, message_ids=["ID1"], status=event_pb2.MESSAGE_STATUS_DELIVERED)
    await world.engines.tell(KEY.handle, receipt=receipt)
    world.engines.hold.set()
    await call
    statuses = [event.message_status.status for event in await world.events() if event.HasField("message_status")]
    assert statuses == [event_pb2.MESSAGE_STATUS_SERVER_ACK, event_pb2.MESSAGE_STATUS_DELIVERED]


async def test_sends_of_a_dead_worker_are_settled_at_the_next_start(world: World, data: Path) -> None:
    """Without a trace the key is free; with one the fate is unknown and its id known."""
    await world.link()
    world.engines.hold.clear()
    calls = [
        asyncio.create_task(world.send(idempotency_key="traced")),
        asyncio.create_task(world.send("two", "+6281200000102", idempotency_key="untraced")),
    ]
    await until(lambda: len(world.engines.sent) == 1)

    async def both_recorded() -> None:
        while len(await world.outbox.unsettled()) < 2:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(both_recorded(), 5)
    store_secret(world, world.engines.sent[0].message_secret, "3EB0TRACE")
    async with open_world(data) as later:  # as after a crash: the first gateway settled nothing
        assert await later.outbox.unsettled() == []
        with pytest.raises(FateUnknownError) as caught:
            await later.send(idempotency_key="traced")
        assert caught.value.metadata == {"message_id": "3EB0TRACE"}
        await until(lambda: later.engines.is_live(KEY.handle))
        result = await later.send("two", "+6281200000102", idempotency_key="untraced")
        assert not result.repeated_call
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_refusals_by_state(world: World) -> None:
    """What keeps a session from sending is told apart."""
    with pytest.raises(SessionNotFoundError):
        await world.send()
    await world.gateway.create_session(DEFAULT_TENANT, worker_pb2.CreateSessionRequest(session_id=SESSION))
    with pytest.raises(NotLinkedError):
        await world.send()
    await world.gateway.delete_session(DEFAULT_TENANT, SESSION)
    await world.link()
    with pytest.raises(InvalidRecipientError):
        await world.send(to="nobody")
    with pytest.raises(InvalidRecipientError) as caught:
        await world.send(mentions=["+6281200000103", "x"])
    assert caught.value.violations[0].field == "options.mentions[1]"
    await world.engines.tell(KEY.handle, connection_lost=engine_pb2.ConnectionLost())
    with pytest.raises(ReconnectingError):
        await world.send()
    await world.gateway.disconnect_session(DEFAULT_TENANT, SESSION)
    with pytest.raises(NotConnectedError):
        await world.send()


async def test_sends_wait_for_an_engine_that_is_being_replaced(world: World) -> None:
    """A recycled engine is no error for who has time."""
    await world.link()
    world.engines.log_in = False
    world.engines.die(planned=True)
    call = asyncio.create_task(world.gateway.send(DEFAULT_TENANT, command(time_left=10.0)))
    await until(lambda: world.engines.is_live(KEY.handle))
    await asyncio.sleep(0.05)
    assert not call.done()
    await world.engines.tell(KEY.handle, logged_in=engine_pb2.LoggedIn())
    assert (await call).id


async def test_another_tenant_does_not_see_the_session(world: World) -> None:
    """The tenant is part of the key everywhere."""
    await world.link()
    other = TenantId("other")
    with pytest.raises(SessionNotFoundError):
        await world.gateway.send(other, command())
    with pytest.raises(SessionNotFoundError):
        world.gateway.get_session(other, SESSION)
    await world.gateway.create_session(other, worker_pb2.CreateSessionRequest(session_id=SESSION))
    assert SessionKey(other, SessionId(SESSION)) in world.gateway._actors
    listed = world.gateway.list_sessions(other, worker_pb2.ListSessionsRequest())
    assert len(listed.sessions) == 1
