"""Simulated contacts and phones against the real client: it believes them, and they read what it sends by own keys."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import TYPE_CHECKING

import grpc
import pytest
from PIL import Image

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from gateway_worker.simulator.signal.chains import ChainKey
from gateway_worker.waproto import e2e
from tests.support.bare_client import BareNeonize, ClientError, Event
from wagateway.simulator.v1 import simulator_pb2 as pb
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway_worker.simulator.players.device import PlayedDevice
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub

SESSION = "a"
PATIENCE = 10.0


class Stage:
    """A simulator in this process, and a real client of it that is linked to a phone.

    Attributes:
        simulator: The simulator.
        control: Its control API.
        client: The process with the client.
        phone: The phone.
    """

    def __init__(
        self, simulator: Simulator, control: SimulatorServiceAsyncStub, client: BareNeonize, phone: pb.Phone
    ) -> None:
        self.simulator = simulator
        self.control = control
        self.client = client
        self.phone = phone

    async def contact(self, behaviour: pb.Behaviour.ValueType) -> pb.Contact:
        """Add a contact."""
        return (await self.control.AddContact(pb.AddContactRequest(behaviour=behaviour, push_name="Cat"))).contact

    async def send(self, to: pb.Contact, **what: str) -> str:
        """Let the client send; returns the message id."""
        answer = await self.client.call("send", session=SESSION, to=f"{to.number}@s.whatsapp.net", **what)
        return str(answer["message_id"])

    async def said(self, by: pb.Contact, **what: str | bytes) -> str:
        """Let a contact speak to the phone; returns the message id."""
        request = pb.SayRequest(contact=by.number, phone=self.phone.number, **what)  # type: ignore[arg-type]
        return (await self.control.Say(request)).id

    async def tick(self, message_id: str, kind: str) -> Event:
        """Wait until the client sees a receipt."""
        return await self.client.wait_for(
            SESSION, "receipt", lambda event: event["type"] == kind and message_id in event["ids"]
        )

    async def heard(self, matching: Callable[[Event], bool]) -> Event:
        """Wait until the client has received and decrypted a message."""
        return await self.client.wait_for(SESSION, "message", matching)

    async def inbox(self, contact: pb.Contact, count: int) -> list[pb.ReceivedMessage]:
        """Return a contact's inbox once it holds as many messages."""
        async with asyncio.timeout(PATIENCE):
            while True:
                inbox = await self.control.ListInbox(pb.ListInboxRequest(contact=contact.number))
                if len(inbox.messages) >= count:
                    return list(inbox.messages)
                await asyncio.sleep(0.02)

    def played(self, number: str) -> PlayedDevice:
        """Reach for the device of a contact, to break something in it."""
        record = self.simulator.server.registry.find(number)
        assert record is not None
        device: PlayedDevice = record.phone().endpoint  # type: ignore[assignment]
        return device


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A simulator and a linked client."""
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulatorSettings(file=tmp_path / "simulator.json")))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(simulator.control_target))
        client = await stack.enter_async_context(BareNeonize(simulator.file, tmp_path))
        control = SimulatorServiceStub(channel)
        phone = (await control.AddPhone(pb.AddPhoneRequest(push_name="Ada Lovelace"))).phone
        await client.pair(SESSION, phone.number, control)
        yield Stage(simulator, control, client, phone)


def picture(colour: str) -> bytes:
    """A JPEG file."""
    encoded = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(encoded, "JPEG", comment=colour.encode())
    return encoded.getvalue()


async def test_a_contact_decrypts_text_and_image_ticks_and_answers(stage: Stage) -> None:
    """What the client encrypts, the contact's keys open: text and image bytes equal; receipts and echoes come back."""
    cat = await stage.contact(pb.BEHAVIOUR_ECHO)
    text_id = await stage.send(cat, text="hello, cat 🐈")
    await stage.tick(text_id, "delivered")
    await stage.tick(text_id, "read")
    echo = await stage.heard(lambda event: event["text"] == "hello, cat 🐈")
    assert echo["sender"] == f"{cat.lid}@lid"
    assert echo["sender_alt"] == f"{cat.number}@s.whatsapp.net"
    assert echo["push_name"] == "Cat"

    image = picture("red")
    upload = await stage.client.call("upload", session=SESSION, data=image.hex())
    image_id = await stage.send(cat, content=upload["content"])
    await stage.tick(image_id, "read")
    text, photo = await stage.inbox(cat, 2)
    assert (text.id, text.text, text.duplicate) == (text_id, "hello, cat 🐈", False)
    assert (photo.id, photo.kind, photo.media) == (image_id, "imageMessage", image)
    assert text.sender == photo.sender == f"{stage.phone.number}:1@s.whatsapp.net"
    returned = await stage.heard(lambda event: b"image/jpeg" in bytes.fromhex(event["content"]))
    download = await stage.client.call("download", session=SESSION, content=returned["content"])
    assert bytes.fromhex(download["data"]) == image


async def test_a_contact_speaks_types_and_reports(stage: Stage) -> None:
    """The client decrypts a contact's text, image and any content, sees it typing, and sees a late receipt."""
    cat = await stage.contact(pb.BEHAVIOUR_OFFLINE)
    for composing in (True, False):
        typing = pb.SendTypingRequest(contact=cat.number, phone=stage.phone.number, composing=composing)
        await stage.control.SendTyping(typing)
        event = await stage.client.wait_for(SESSION, "typing")
        assert (event["sender"], event["composing"]) == (f"{cat.lid}@lid", composing)

    text_id = await stage.said(cat, text="miaow")
    assert (await stage.heard(lambda event: event["id"] == text_id))["text"] == "miaow"

    image = picture("blue")
    image_id = await stage.said(cat, image=image, caption="me")
    heard = await stage.heard(lambda event: event["id"] == image_id)
    content = e2e.Message.FromString(bytes.fromhex(heard["content"])).imageMessage
    assert (content.caption, content.width, content.height, content.mimetype) == ("me", 320, 240, "image/jpeg")
    download = await stage.client.call("download", session=SESSION, content=heard["content"])
    assert bytes.fromhex(download["data"]) == image

    place = e2e.Message(locationMessage=e2e.LocationMessage(degreesLatitude=-6.2, degreesLongitude=106.8))
    place_id = await stage.said(cat, content=place.SerializeToString(), id="3A0000000000000000AA")
    heard = await stage.heard(lambda event: event["id"] == place_id == "3A0000000000000000AA")
    assert e2e.Message.FromString(bytes.fromhex(heard["content"])).locationMessage == place.locationMessage

    message_id = await stage.send(cat, text="anybody there?")
    await stage.inbox(cat, 1)
    played = pb.SendReceiptRequest(contact=cat.number, id=message_id, kind=pb.RECEIPT_KIND_PLAYED)
    await stage.control.SendReceipt(played)
    await stage.tick(message_id, "played")
    kinds = {event["type"] for event in stage.client.pending(SESSION, "receipt") if message_id in event["ids"]}
    assert kinds <= {"sender"}  # the own phone's; the contact itself had given no sign


async def test_the_phone_makes_presence_possible(stage: Stage) -> None:
    """The client learns its push name from the phone's app state, and can announce itself under it."""
    record = stage.simulator.server.registry.find(stage.phone.number)
    assert record is not None
    record.push_name = ""  # the server shall hear it from the client
    async with asyncio.timeout(PATIENCE):
        while not record.available:
            with contextlib.suppress(ClientError):  # until the app state has arrived
                await stage.client.call("presence", session=SESSION, state="available")
            await asyncio.sleep(0.02)
    assert record.push_name == "Ada Lovelace"


async def test_broken_sessions_heal(stage: Stage) -> None:
    """When either side cannot decrypt, it asks again and gets the message, once."""
    cat = await stage.contact(pb.BEHAVIOUR_SILENT)
    opening = await stage.said(cat, text="one")
    await stage.heard(lambda event: event["id"] == opening)
    await stage.send(cat, text="two")
    await stage.inbox(cat, 1)
    signal = stage.played(cat.number)._signal
    (companion,) = (address for address in signal._records if address.device)

    signal.forget(companion)
    message_id = await stage.send(cat, text="three")
    await stage.tick(message_id, "delivered")
    assert [(message.text, message.duplicate) for message in await stage.inbox(cat, 2)] == [
        ("two", False),
        ("three", False),
    ]

    signal._records[companion].current._sender_chain = ChainKey(bytes(32))
    broken = await stage.said(cat, text="four")
    assert (await stage.heard(lambda event: event["id"] == broken))["text"] == "four"
    final = await stage.send(cat, text="five")
    await stage.tick(final, "delivered")
    assert (await stage.inbox(cat, 3))[-1].text == "five"


async def test_what_was_said_while_the_client_was_away_is_understood_later(stage: Stage, tmp_path: Path) -> None:
    """Messages encrypted for a client that is gone decrypt in order when it is back, and the conversation goes on."""
    cat = await stage.contact(pb.BEHAVIOUR_READ)
    await stage.send(cat, text="bye")
    await stage.inbox(cat, 1)
    await stage.client.kill()
    said = [await stage.said(cat, text=f"away {number}") for number in range(5)]
    async with BareNeonize(stage.simulator.file, tmp_path) as client:
        await client.start(SESSION)
        back = Stage(stage.simulator, stage.control, client, stage.phone)
        heard = [await back.heard(lambda event: str(event["text"]).startswith("away")) for _ in said]
        assert [event["id"] for event in heard] == said
        message_id = await back.send(cat, text="back")
        await back.tick(message_id, "read")
        assert [message.text for message in await back.inbox(cat, 2)] == ["bye", "back"]
