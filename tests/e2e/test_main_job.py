"""The main job, end to end: real engine, real client library, simulated WhatsApp, over gRPC."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
import pytest
from PIL import Image

from gateway_worker import waproto
from tests.support.api import CONNECTED, EventFollower, link_session, send_text, simulator_control, worker_api
from tests.support.edge import failure_of
from tests.support.processes import RunningSimulator, running_worker
from wagateway.simulator.v1 import simulator_pb2
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2, worker_pb2

CONTACT = "6281200000101"
CHAT = f"{CONTACT}@s.whatsapp.net"


def picture() -> bytes:
    """A PNG of some size."""
    buffer = io.BytesIO()
    Image.effect_mandelbrot((320, 240), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


async def test_link_send_ticks_answer(simulator: RunningSimulator, tmp_path: Path) -> None:
    """A backend links an account, sends text and image, sees the ticks and the answers, and everything is true."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(
            simulator_pb2.AddContactRequest(number=CONTACT, behaviour=simulator_pb2.BEHAVIOUR_ECHO)
        )
        linked = await link_session(api, control, events, "shop", number="6281200000001")
        session = (await api.GetSession(worker_pb2.GetSessionRequest(session_id="shop"))).session
        assert session.account.jid == linked.jid
        assert session.account.phone_number == "+6281200000001"

        sent = await send_text(api, "shop", "0812-0000-0101", "Hello, *world*")
        assert (sent.chat, sent.status) == (CHAT, event_pb2.MESSAGE_STATUS_SERVER_ACK)
        image = content_pb2.ImageContent(source=content_pb2.MediaSource(inline=picture()), caption="a picture")
        shown = (await api.SendImage(worker_pb2.SendImageRequest(session_id="shop", to=CHAT, image=image))).message

        for message in (sent, shown):
            for status in (event_pb2.MESSAGE_STATUS_DELIVERED, event_pb2.MESSAGE_STATUS_READ):
                event = await events.wait_for(
                    lambda event, message=message, status=status: (  # type: ignore[misc]
                        event.message_status.message_id == message.id and event.message_status.status == status
                    )
                )
                assert event.message_status.recipient.phone_number == f"+{CONTACT}"

        inbox = (await control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT))).messages
        assert [(message.id, message.kind, message.text) for message in inbox] == [
            (sent.id, inbox[0].kind, "Hello, *world*"),
            (shown.id, "imageMessage", "a picture"),
        ]
        assert inbox[1].media == picture(), "decrypted by the contact's own keys, byte for byte"
        assert not any("bot" in tag for message in inbox for tag in message.stanza_tags), "no AI badge"
        content = waproto.e2e.Message.FromString(inbox[1].content).imageMessage
        assert (content.width, content.height, content.mimetype) == (320, 240, "image/png")
        assert content.JPEGThumbnail

        text = (await events.wait_for(lambda event: event.message.content.text.text == "Hello, *world*")).message
        assert (text.chat, text.sender.phone_number, text.from_me) == (CHAT, f"+{CONTACT}", False)
        assert text.sender.lid.endswith("@lid")
        echo = (await events.wait_for(lambda event: event.message.content.HasField("image"))).message
        assert echo.content.image.caption == "a picture"
        assert (echo.content.image.info.width, echo.content.image.info.mime_type) == (320, "image/png")

        sequences = [event.sequence for event in events.events("shop") if event.sequence]
        assert sequences == list(range(1, len(sequences) + 1)), "no gap, no repeat"


async def test_options_reach_the_recipient(simulator: RunningSimulator, tmp_path: Path) -> None:
    """A quote, a mention, view-once and a repeated key are what the contact receives, typing included."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number="6281200000001")
        request = worker_pb2.SendTextRequest(session_id="shop", to=CHAT)
        request.text.text = "see @6281200000102"
        request.options.idempotency_key = "order-1"
        request.options.quoted.CopyFrom(content_pb2.QuotedMessage(message_id="3EB0QUOTED", text="before"))
        request.options.mentions.append("+6281200000102")
        request.options.human.typing.FromMilliseconds(50)
        first = (await api.SendText(request)).message
        again = (await api.SendText(request)).message
        assert (again.id, again.repeated_call) == (first.id, True)

        unified = worker_pb2.SendMessageRequest(session_id="shop", to=CHAT)
        unified.content.image.source.inline = picture()
        unified.content.image.view_once = True
        await api.SendMessage(unified)

        inbox = (await control.ListInbox(simulator_pb2.ListInboxRequest(contact=CONTACT))).messages
        assert len(inbox) == 2, "the repeated call sent nothing"
        context = waproto.e2e.Message.FromString(inbox[0].content).extendedTextMessage.contextInfo
        assert (context.stanzaID, context.quotedMessage.conversation) == ("3EB0QUOTED", "before")
        assert list(context.mentionedJID) == ["6281200000102@s.whatsapp.net"]
        once = waproto.e2e.Message.FromString(inbox[1].content)
        image = once.viewOnceMessage.message.imageMessage if once.HasField("viewOnceMessage") else once.imageMessage
        assert image.viewOnce


async def test_contacts_write_type_and_come_back(simulator: RunningSimulator, tmp_path: Path) -> None:
    """What contacts do arrives: text, image, typing; what is not decoded arrives with its bytes."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT, push_name="Siti"))
        await link_session(api, control, events, "shop", number="6281200000001")
        say = simulator_pb2.SayRequest(contact=CONTACT, phone="6281200000001")
        await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone="6281200000001", text="good morning"))
        message = (await events.wait_for(lambda event: event.message.content.text.text == "good morning")).message
        assert message.sender_name == "Siti"
        location = waproto.e2e.Message(
            locationMessage=waproto.e2e.LocationMessage(degreesLatitude=-6.2, degreesLongitude=106.8)
        )
        say.content = location.SerializeToString()
        await control.Say(say)
        unknown = await events.wait_for(lambda event: event.message.content.HasField("unknown"))
        assert unknown.message.content.unknown.kind == "locationMessage"
        raw = waproto.e2e.Message.FromString(unknown.message.content.unknown.raw)
        assert raw.locationMessage.degreesLatitude == pytest.approx(-6.2)
        await control.SendTyping(
            simulator_pb2.SendTypingRequest(contact=CONTACT, phone="6281200000001", composing=True)
        )
        typing = await events.wait_for(lambda event: event.HasField("chat_presence"))
        assert typing.chat_presence.activity == event_pb2.CHAT_ACTIVITY_TYPING
        assert typing.chat_presence.chat == CHAT
        replay = simulator_pb2.SayRequest(contact=CONTACT, phone="6281200000001", text="once", id="3EB0REPLAY")
        for _ in range(2):
            await control.Say(replay)
        await control.Say(simulator_pb2.SayRequest(contact=CONTACT, phone="6281200000001", text="last"))
        await events.wait_for(lambda event: event.message.content.text.text == "last")
        assert len([event for event in events.events(kind="message") if event.message.id == "3EB0REPLAY"]) == 1


async def test_the_phone_unlinks_and_links_again(simulator: RunningSimulator, tmp_path: Path) -> None:
    """Removed on the phone: LOGGED_OUT with its reason; ConnectSession offers a new code."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await link_session(api, control, events, "shop", number="6281200000001")
        await control.UnlinkDevice(simulator_pb2.UnlinkDeviceRequest(number="6281200000001"))
        event = await events.wait_state("shop", session_pb2.SESSION_STATE_LOGGED_OUT)
        assert event.session_state.status.reason == session_pb2.STATE_REASON_DEVICE_REMOVED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send_text(api, "shop", CHAT, "too late")
        assert failure_of(caught.value).reason == "SESSION_LOGGED_OUT"
        since = events.mark
        await api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id="shop"))
        await events.wait_state("shop", session_pb2.SESSION_STATE_PAIRING, since=since)
        code = (await api.GetPairing(worker_pb2.GetPairingRequest(session_id="shop"))).pairing.qr
        await control.ScanCode(simulator_pb2.ScanCodeRequest(number="6281200000001", code=code))
        await events.wait_state("shop", CONNECTED, since=since)


async def test_logout_and_delete(simulator: RunningSimulator, tmp_path: Path) -> None:
    """LogoutSession removes the device from the phone; DeleteSession erases the rest, files included."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await link_session(api, control, events, "shop", number="6281200000001")
        await link_session(api, control, events, "spare", number="6281200000002")
        session = (await api.LogoutSession(worker_pb2.LogoutSessionRequest(session_id="shop"))).session
        assert session.status.state == session_pb2.SESSION_STATE_LOGGED_OUT
        await api.DeleteSession(worker_pb2.DeleteSessionRequest(session_id="spare"))
        phones = (await control.ListPhones(simulator_pb2.ListPhonesRequest())).phones
        assert [list(phone.devices) for phone in phones] == [[], []]
        left = {path.name for path in (tmp_path / "data" / "sessions").rglob("*.db")}
        assert left == set()


async def test_another_client_takes_the_device_over(simulator: RunningSimulator, tmp_path: Path) -> None:
    """StreamReplaced is final until somebody asks."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        linked = await link_session(api, control, events, "shop", number="6281200000001")
        await control.SendStreamError(
            simulator_pb2.SendStreamErrorRequest(phone=linked.number, kind=simulator_pb2.STREAM_ERROR_KIND_REPLACED)
        )
        await events.wait_state("shop", session_pb2.SESSION_STATE_REPLACED)
        since = events.mark
        await api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id="shop"))
        await events.wait_state("shop", CONNECTED, since=since)


async def test_the_worker_never_loads_the_go_library(simulator: RunningSimulator, tmp_path: Path) -> None:
    """With sessions linked and messages sent, only engines have neonize in their memory map."""
    async with (
        running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker,
        worker_api(worker.target) as api,
        simulator_control(simulator.target) as control,
        EventFollower(api) as events,
    ):
        await control.AddContact(simulator_pb2.AddContactRequest(number=CONTACT))
        await link_session(api, control, events, "shop", number="6281200000001")
        await send_text(api, "shop", CHAT, "hi")
        mapped = Path(f"/proc/{worker.pid}/maps").read_text()
        assert "gateway.db" in mapped or "apsw" in mapped, "the right process"
        assert "neonize" not in mapped
        engines = worker.engine_pids("session")
        assert engines
        assert all("neonize" in Path(f"/proc/{pid}/maps").read_text() for pid in engines)
