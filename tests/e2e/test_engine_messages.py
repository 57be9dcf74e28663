"""An engine's messages, out and in. The real client library against the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from gateway_worker.waproto import e2e
from tests.support.engine_process import CommandError
from tests.support.engine_world import SECRET, EngineWorld, engine_world, has_text, jid, secrets_in, text_to
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import content_pb2, event_pb2


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EngineWorld]:
    """A simulator in this process."""
    async with engine_world(tmp_path) as world:
        yield world


def picture(size: tuple[int, int] = (640, 360)) -> bytes:
    """A JPEG."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, "JPEG")
    return out.getvalue()


async def test_a_text_arrives_and_its_receipts_come_back(world: EngineWorld) -> None:
    """One session's text is another one's message, under addresses that an answer reaches; delivery is reported."""
    async with world.engine() as engine:
        alice, bob = await world.link(engine, "alice"), await world.link(engine, "bob")
        sent = await engine.send(text_to("alice", bob, "hello Bob"))
        received = (await engine.event("bob", "message", has_text)).message.message
        receipt = (await engine.event("alice", "receipt", lambda event: not event.receipt.from_me)).receipt
        answer = text_to("bob", "", "hello Alice")
        answer.chat = received.chat
        await engine.send(answer)
        answered = (await engine.event("alice", "message", has_text)).message.message

    assert received.id == sent.message_id
    assert received.content.text.text == "hello Bob"
    assert received.chat == jid(alice)
    assert received.sender.phone_number == f"+{alice}"
    assert received.sender.id == received.sender.lid != ""
    assert received.sender_name == "Phone alice"
    assert not received.from_me
    assert receipt.message_ids == [sent.message_id]
    assert receipt.status == event_pb2.MESSAGE_STATUS_DELIVERED
    assert receipt.chat == jid(bob)
    assert receipt.sender.phone_jid == jid(bob)
    assert answered.content.text.text == "hello Alice"
    assert answered.chat == jid(bob)


async def test_a_contact_reads_what_was_sent(world: EngineWorld) -> None:
    """A text with a quote and a mention is what a client of other make decrypts; nothing marks it as an AI's."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_READ)
    async with world.engine() as engine:
        await world.link(engine, "alice")
        command = text_to("alice", contact, "yes @123")
        command.quoted.CopyFrom(content_pb2.QuotedMessage(message_id="ABC", text="really?"))
        command.mentions.append("123@s.whatsapp.net")
        sent = await engine.send(command)
        read = await engine.event(
            "alice", "receipt", lambda event: event.receipt.status == event_pb2.MESSAGE_STATUS_READ
        )
        (received,) = await world.inbox(contact)

    message = e2e.Message.FromString(received.content)
    context = message.extendedTextMessage.contextInfo
    assert received.id == sent.message_id
    assert received.text == "yes @123"
    assert (context.stanzaID, context.participant) == ("ABC", jid(contact))
    assert context.quotedMessage.conversation == "really?"
    assert context.mentionedJID == ["123@s.whatsapp.net"]
    assert message.messageContextInfo.messageSecret == SECRET
    assert "bot" not in " ".join(received.stanza_tags)
    assert read.receipt.message_ids == [sent.message_id]


async def test_an_image_arrives_byte_for_byte(world: EngineWorld) -> None:
    """An image is uploaded once, described by what is in it, and downloads as what it was."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_READ)
    data = picture()
    path = world.directory / "picture.jpg"
    path.write_bytes(data)
    async with world.engine() as engine:
        await world.link(engine, "alice")
        bob = await world.link(engine, "bob")
        content = content_pb2.Content(image=content_pb2.ImageContent(caption="look"))
        for number in (contact, bob):
            await engine.send(
                engine_pb2.SendMessage(handle="alice", chat=jid(number), content=content, media_path=str(path))
            )
        content.image.view_once = True
        await engine.send(engine_pb2.SendMessage(handle="alice", chat=jid(bob), content=content, media_path=str(path)))
        (received,) = await world.inbox(contact)
        kept, once = [
            (await engine.event("bob", "message", lambda event: event.message.message.content.HasField("image")))
            for _ in range(2)
        ]

    assert received.kind == "imageMessage"
    assert received.text == "look"
    assert received.media == data
    image = kept.message.message.content.image
    assert (image.caption, image.view_once) == ("look", False)
    assert (image.info.mime_type, image.info.size) == ("image/jpeg", len(data))
    assert (image.info.width, image.info.height) == (640, 360)
    assert image.info.sha256 == hashlib.sha256(data).digest()
    with Image.open(io.BytesIO(image.info.thumbnail)) as thumbnail:
        assert thumbnail.size == (100, 56)
    assert once.message.message.content.image.view_once
    assert path.read_bytes() == data


async def test_what_is_no_image_is_refused_before_anything_is_sent(world: EngineWorld) -> None:
    """A file that is not the image it should be, or not there, is INVALID_MEDIA; nothing reaches the recipient."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_READ)
    text = world.directory / "text.jpg"
    text.write_text("no image")
    async with world.engine() as engine:
        await world.link(engine, "alice")
        for path in (text, world.directory / "missing.jpg"):
            command = engine_pb2.SendMessage(handle="alice", chat=jid(contact), media_path=str(path))
            command.content.image.SetInParent()
            with pytest.raises(CommandError) as refused:
                await engine.send(command)
            assert refused.value.failure.kind == engine_pb2.FAILURE_KIND_INVALID_MEDIA
        await engine.send(text_to("alice", contact, "last"))
        assert [message.text for message in await world.inbox(contact)] == ["last"]


async def test_typing_and_presence_are_told_but_not_kept(world: EngineWorld) -> None:
    """A contact that types is seen typing; a session's typing is taken; both leave no trace in the spool."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_SILENT)
    async with world.engine() as engine:
        phone = await world.link(engine, "alice")
        await engine.event("alice", "logged_in", lambda event: bool(event.logged_in.push_name))
        presence = engine_pb2.SendPresence(handle="alice", available=True)
        await engine.call(engine_pb2.ControlRequest(presence=presence))
        typing = engine_pb2.SendChatPresence(handle="alice", chat=jid(contact), activity=event_pb2.CHAT_ACTIVITY_TYPING)
        await engine.call(engine_pb2.ControlRequest(chat_presence=typing))
        await world.control.SendTyping(simulator_pb2.SendTypingRequest(contact=contact, phone=phone, composing=True))
        seen = await engine.event("alice", "chat_presence")

    assert seen.position == 0
    assert seen.chat_presence.chat == jid(contact)
    assert seen.chat_presence.activity == event_pb2.CHAT_ACTIVITY_TYPING


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (simulator_pb2.SetFaultsRequest(refuse_messages=463), engine_pb2.FAILURE_KIND_REFUSED),
        (simulator_pb2.SetFaultsRequest(withhold_acks=True), engine_pb2.FAILURE_KIND_FATE_UNKNOWN),
        (simulator_pb2.SetFaultsRequest(swallow_messages=True), engine_pb2.FAILURE_KIND_FATE_UNKNOWN),
    ],
    ids=["refused", "ack withheld", "swallowed"],
)
async def test_the_fate_of_a_send(
    world: EngineWorld, faults: simulator_pb2.SetFaultsRequest, kind: engine_pb2.FailureKind.ValueType
) -> None:
    """What WhatsApp refused is refused with its code; what it did not answer is unknown, and its id is on disk."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_SILENT)
    async with world.engine() as engine:
        phone = await world.link(engine, "alice")
        await world.control.SetFaults(faults)
        sending = asyncio.create_task(engine.send(text_to("alice", contact, "hello")))
        if kind == engine_pb2.FAILURE_KIND_FATE_UNKNOWN:
            await asyncio.sleep(0.3)
            assert not sending.done()
            await world.control.SendStreamError(
                simulator_pb2.SendStreamErrorRequest(phone=phone, kind=simulator_pb2.STREAM_ERROR_KIND_REPLACED)
            )
        with pytest.raises(CommandError) as failed:
            await sending
        assert failed.value.failure.kind == kind
        assert failed.value.failure.server_code == faults.refuse_messages
    assert secrets_in(world.database("alice")) == [SECRET]


async def test_the_secret_is_stored_before_the_wire(world: EngineWorld) -> None:
    """After a SIGKILL with a send on its way, its secret is in the session's database under its id."""
    contact = await world.contact(simulator_pb2.BEHAVIOUR_SILENT)
    async with world.engine() as engine:
        await world.link(engine, "alice")
        await world.control.SetFaults(simulator_pb2.SetFaultsRequest(withhold_acks=True))
        sending = asyncio.create_task(engine.send(text_to("alice", contact, "hello")))
        (received,) = await world.inbox(contact)
        await engine.kill()
        sending.cancel()
    with contextlib.closing(sqlite3.connect(f"file:{world.database('alice')}?mode=ro", uri=True)) as database:
        (row,) = database.execute("SELECT message_id, key FROM whatsmeow_message_secrets")
    assert row == (received.id, SECRET)
