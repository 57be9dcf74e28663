"""The engine with the real client library against the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from PIL import Image

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from gateway_worker.waproto import e2e
from tests.support.engine_process import CommandError, EngineProcess, make_database
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub
from wagateway.worker.v1 import content_pb2, event_pb2

if TYPE_CHECKING:
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub

SECRET = bytes(range(32))


@dataclass(frozen=True)
class World:
    """A running simulator, its control API, and a folder."""

    simulator: Simulator
    control: SimulatorServiceAsyncStub
    directory: Path

    def engine(self, name: str = "engine", *, acknowledge: bool = True, max_sessions: int = 50) -> EngineProcess:
        """An engine for this simulator, not started yet."""
        return EngineProcess(
            self.directory,
            name=name,
            simulator=self.simulator.file,
            acknowledge=acknowledge,
            max_sessions=max_sessions,
        )

    def database(self, handle: str) -> Path:
        """Path of a session's auth database, made when it is not there."""
        path = self.directory / f"{handle}.db"
        return path if path.exists() else make_database(path)

    async def link(self, engine: EngineProcess, handle: str) -> str:
        """Link a session to a new phone and wait for the login; returns the phone's number."""
        phone = (await self.control.AddPhone(simulator_pb2.AddPhoneRequest(push_name=f"Phone {handle}"))).phone
        await engine.start(handle, self.database(handle))
        offered = await engine.event(handle, "qr")
        await self.control.ScanCode(simulator_pb2.ScanCodeRequest(number=phone.number, code=offered.qr.code))
        await engine.event(handle, "logged_in")
        return phone.number

    async def contact(self, behaviour: simulator_pb2.Behaviour.ValueType) -> str:
        """Create a contact that the simulator plays; returns its number."""
        request = simulator_pb2.AddContactRequest(behaviour=behaviour)
        return (await self.control.AddContact(request)).contact.number

    async def inbox(self, contact: str, count: int = 1) -> list[simulator_pb2.ReceivedMessage]:
        """Wait until a contact was sent this many messages."""
        request = simulator_pb2.ListInboxRequest(contact=contact)
        async with asyncio.timeout(10):
            while len(messages := (await self.control.ListInbox(request)).messages) < count:
                await asyncio.sleep(0.02)
        return list(messages)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A simulator in this process."""
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulatorSettings(file=tmp_path / "simulator.json")))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(simulator.control_target))
        yield World(simulator, SimulatorServiceStub(channel), tmp_path)


def jid(number: str) -> str:
    """Phone JID of a number."""
    return f"{number}@s.whatsapp.net"


def text_to(handle: str, number: str, text: str, secret: bytes = SECRET) -> engine_pb2.SendMessage:
    """A command that sends a text."""
    content = content_pb2.Content(text=content_pb2.TextContent(text=text))
    return engine_pb2.SendMessage(handle=handle, chat=jid(number), content=content, message_secret=secret)


def has_text(event: engine_pb2.EngineEvent) -> bool:
    """Whether a message says something: phones send their companions messages that do not."""
    return event.message.message.content.HasField("text")


def texts(events: list[engine_pb2.EngineEvent]) -> list[str]:
    """The texts of the messages among events, in order."""
    return [event.message.message.content.text.text for event in events if has_text(event)]


def picture(size: tuple[int, int] = (640, 360)) -> bytes:
    """A JPEG."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, "JPEG")
    return out.getvalue()


async def test_a_session_links_by_qr_and_tells_who_it_is(world: World) -> None:
    """QR code (60 s), link, login with both addresses, and the display name once the phone has told it."""
    phone = (await world.control.AddPhone(simulator_pb2.AddPhoneRequest(push_name="Ratna"))).phone
    async with world.engine() as engine:
        await engine.start("s", world.database("s"))
        offered = await engine.event("s", "qr")
        scanned = await world.control.ScanCode(simulator_pb2.ScanCodeRequest(number=phone.number, code=offered.qr.code))
        paired = await engine.event("s", "paired")
        logged_in = await engine.event("s", "logged_in")
        named = await engine.event("s", "logged_in", lambda event: bool(event.logged_in.push_name))

    assert offered.position == 0
    assert offered.qr.valid_seconds == 60
    assert paired.paired == engine_pb2.Paired(jid=scanned.jid, lid=f"{phone.lid}@lid")
    assert (logged_in.logged_in.jid, logged_in.logged_in.lid) == (scanned.jid, f"{phone.lid}@lid")
    assert named.logged_in.push_name == "Ratna"
    positions = [event.position for event in engine.spooled("engine")]
    assert positions == list(range(1, len(positions) + 1))


async def test_a_text_arrives_and_its_receipts_come_back(world: World) -> None:
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


async def test_a_contact_reads_what_was_sent(world: World) -> None:
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


async def test_an_image_arrives_byte_for_byte(world: World) -> None:
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


async def test_what_is_no_image_is_refused_before_anything_is_sent(world: World) -> None:
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


async def test_typing_and_presence_are_told_but_not_kept(world: World) -> None:
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


async def test_a_stopped_session_comes_back_without_a_code(world: World) -> None:
    """Stop ends the events; start logs in again, and what came meanwhile is delivered."""
    async with world.engine() as engine:
        await world.link(engine, "alice")
        bob = await world.link(engine, "bob")
        await engine.stop("bob")
        count = len(engine.events)
        await engine.send(text_to("alice", bob, "while you were away"))
        await asyncio.sleep(0.3)
        assert not [event for _, event in engine.events[count:] if event.handle == "bob"]
        await engine.stop("bob")  # nobody is there any more: nothing to do
        await engine.start("bob", world.database("bob"))
        await engine.event("bob", "logged_in")
        assert texts([await engine.event("bob", "message", has_text)]) == ["while you were away"]


async def test_a_handle_that_is_not_live_is_never_asked_for(world: World) -> None:
    """Commands for unknown, unlinked and taken handles are refused; the library would end the process (trap 17)."""
    async with world.engine(max_sessions=2) as engine:
        with pytest.raises(CommandError) as unknown:
            await engine.send(text_to("nobody", "6281200000001", "hello"))
        await engine.start("new", world.database("new"))
        await engine.event("new", "qr")
        with pytest.raises(CommandError) as unlinked:
            await engine.send(text_to("new", "6281200000001", "hello"))
        with pytest.raises(CommandError) as taken:
            await engine.start("new", world.database("new"))
        await engine.start("other", world.database("other"))
        with pytest.raises(CommandError) as full:
            await engine.start("third", world.database("third"))
        await engine.stop("other")
        with pytest.raises(CommandError) as path:
            await engine.start("fourth", Path("/tmp/a?b.db"))  # noqa: S108 - never opened

    assert unknown.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE
    assert unlinked.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LINKED
    for error in (taken, full, path):
        assert error.value.failure.kind == engine_pb2.FAILURE_KIND_INTERNAL


async def test_a_qr_that_nobody_scans_is_given_up_without_harm(world: World) -> None:
    """Stopping a session that is being linked neither ends the process nor keeps it from linking it again (#201)."""
    async with world.engine() as engine:
        for _ in range(3):
            await engine.start("s", world.database("s"))
            await engine.event("s", "qr")
            await engine.stop("s")
        phone = await world.link(engine, "s")
        contact = await world.contact(simulator_pb2.BEHAVIOUR_READ)
        await engine.send(text_to("s", contact, f"I am {phone}"))


async def test_codes_that_run_out_are_told(tmp_path: Path) -> None:
    """When the last code is over, linking ended as timed out (trap 7), by the login-status hook alone."""
    settings = SimulatorSettings(file=tmp_path / "simulator.json", ref_lifetimes=(60.0,))
    async with Simulator(settings) as simulator, EngineProcess(tmp_path, simulator=simulator.file) as engine:
        await engine.start("s", make_database(tmp_path / "s.db"))
        await engine.event("s", "qr")
        ended = await engine.event("s", "linking_ended", within=25)  # the client gives the last code 20 s
        await engine.stop("s")
    assert ended.linking_ended.outcome == engine_pb2.LINKING_OUTCOME_TIMED_OUT


async def test_linking_that_is_cut_off_is_told(world: World) -> None:
    """A connection that breaks while a code is offered ends linking as interrupted: nobody had his time."""
    async with world.engine() as engine:
        await engine.start("s", world.database("s"))
        await engine.event("s", "qr")
        await world.control.DropConnections(simulator_pb2.DropConnectionsRequest())
        ended = await engine.event("s", "linking_ended")
        await engine.stop("s")
    assert ended.linking_ended.outcome == engine_pb2.LINKING_OUTCOME_INTERRUPTED


async def test_a_pairing_code_is_asked_for_only_when_it_can_be(world: World) -> None:
    """Before a QR code is offered there is no connection to ask for a pairing code over (trap 9)."""
    async with world.engine() as engine:
        request = engine_pb2.PairPhone(handle="s", phone_number="6281200000001")
        with pytest.raises(CommandError) as early:
            await engine.call(engine_pb2.ControlRequest(pair_phone=request))
        assert early.value.failure.kind == engine_pb2.FAILURE_KIND_NOT_LIVE


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
    world: World, faults: simulator_pb2.SetFaultsRequest, kind: engine_pb2.FailureKind.ValueType
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


async def test_the_secret_is_stored_before_the_wire(world: World) -> None:
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


def secrets_in(path: Path) -> list[bytes]:
    """Message secrets in a session's database."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [key for (key,) in database.execute("SELECT key FROM whatsmeow_message_secrets")]


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (simulator_pb2.STREAM_ERROR_KIND_REPLACED, "stream_replaced"),
        (simulator_pb2.STREAM_ERROR_KIND_LOGGED_OUT, "logged_out"),
        (simulator_pb2.STREAM_ERROR_KIND_UNAVAILABLE, "connection_lost"),
    ],
)
async def test_what_the_server_does_to_a_connection_is_told(
    world: World, fault: simulator_pb2.StreamErrorKind.ValueType, event: str
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
async def test_a_refused_login_is_told(world: World, code: int, event: str) -> None:
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


async def test_a_dropped_connection_comes_back_by_itself(world: World) -> None:
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


async def test_logout_unlinks_the_device(world: World) -> None:
    """After a logout the phone has no device left, the client is gone, and its database holds no device."""
    async with world.engine() as engine:
        phone = await world.link(engine, "s")
        await engine.call(engine_pb2.ControlRequest(logout=engine_pb2.LogoutSession(handle="s")))
        with pytest.raises(CommandError):
            await engine.send(text_to("s", phone, "hello"))
        (listed,) = (await world.control.ListPhones(simulator_pb2.ListPhonesRequest())).phones
        assert not listed.devices
        await engine.start("s", world.database("s"))
        await engine.event("s", "qr")


async def test_events_outlive_a_killed_engine(world: World) -> None:
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


async def test_the_spool_of_a_live_engine_is_not_imported(world: World) -> None:
    """Importing what is still written would deliver twice: it is refused."""
    async with world.engine("first") as first, world.engine("second") as second:
        with pytest.raises(CommandError) as refused:
            await second.import_spool("first", first.spool)
    assert refused.value.failure.kind == engine_pb2.FAILURE_KIND_INTERNAL


async def test_shutdown_spools_everything_and_exits(world: World) -> None:
    """Shutdown ends all clients, tells the last position, and the process ends with status 0."""
    async with world.engine() as engine:
        await world.link(engine, "a")
        await world.link(engine, "b")
        done = await engine.call(engine_pb2.ControlRequest(shutdown=engine_pb2.Shutdown()))
        async with asyncio.timeout(10):
            assert await engine.process.wait() == 0
    assert done.done.spooled == max(event.position for event in engine.spooled("engine"))


async def test_sigterm_ends_the_engine_gracefully(world: World) -> None:
    """SIGTERM stops the clients and exits with status 0; the simulator sees no connection any more."""
    async with world.engine() as engine:
        await world.link(engine, "a")
        engine.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await engine.process.wait() == 0
    assert (await world.control.GetStats(simulator_pb2.GetStatsRequest())).connected_devices == 0


async def test_the_engine_ends_when_its_worker_is_gone(world: World) -> None:
    """The end of the command stream is the end of the engine."""
    async with world.engine() as engine:
        await world.link(engine, "a")
    assert engine.process.returncode == 0


async def test_the_worker_is_not_loaded_with_the_library() -> None:
    """This very process, which imports the engine's message types, has no Go core in it."""
    assert "neonize-linux" not in Path("/proc/self/maps").read_text()
    assert os.getpid() > 0
