"""What contacts do: read, report, answer and speak, seen from a companion's side, stanza by stanza."""

from __future__ import annotations

import asyncio
import io

from PIL import Image

from gateway_worker.simulator.endpoints import Utterance
from gateway_worker.simulator.media_crypto import MediaKind, decrypt_media, encrypt_media
from gateway_worker.waproto import e2e
from tests.support.simulated_world import CONTACT, PHONE, World, text
from wagateway.simulator.v1 import simulator_pb2 as pb


async def test_a_contact_reads_what_it_is_sent_and_says_so_as_is_its_manner(world: World) -> None:
    """A reading contact sends a delivery and a read receipt, and its inbox holds the message as sent."""
    contact = await world.contact(pb.BEHAVIOUR_READ)
    companion = await world.companion()
    await companion.send(contact, text("hello"), "M1")
    delivered = await companion.next("receipt", "")
    read = await companion.next("receipt", "read")
    assert (delivered.attrs["id"], read.attrs["id"]) == ("M1", "M1")
    assert delivered.attrs["from"] == f"{contact.lid}@lid"
    (received,) = world.players.inbox(CONTACT)
    assert (received.id, received.contact, received.text, received.kind) == ("M1", CONTACT, "hello", "conversation")
    assert received.sender == companion.address.pn_jid
    assert received.content == text("hello").SerializeToString()
    assert "enc" in received.stanza_tags
    assert "type=text" in received.stanza_tags
    assert not received.duplicate
    assert received.time.seconds > 0


async def test_a_silent_contact_only_confirms_delivery(world: World) -> None:
    """Unspecified means silent; no read receipt, no answer."""
    contact = await world.contact(pb.BEHAVIOUR_UNSPECIFIED)
    companion = await world.companion()
    await companion.send(contact, text("hello"), "M1")
    await companion.next("receipt", "")
    assert await companion.quiet()
    assert world.players.contacts()[0].behaviour == pb.BEHAVIOUR_SILENT


async def test_an_offline_contact_gives_no_sign_until_told_to(world: World) -> None:
    """Nothing comes back by itself, yet its inbox shows the message, and receipts can be sent for it."""
    contact = await world.contact(pb.BEHAVIOUR_OFFLINE)
    companion = await world.companion()
    await companion.send(contact, text("hello"), "M1")
    await companion.next("receipt", "sender")  # the own phone's
    assert await companion.quiet()
    assert [message.text for message in world.players.inbox(CONTACT)] == ["hello"]
    for kind, wire in (
        (pb.RECEIPT_KIND_DELIVERED, ""),
        (pb.RECEIPT_KIND_READ, "read"),
        (pb.RECEIPT_KIND_PLAYED, "played"),
    ):
        await world.players.receipt(CONTACT, "M1", kind)
        assert (await companion.next("receipt", wire)).attrs["id"] == "M1"


async def test_an_echo_says_the_same_and_nothing_more(world: World) -> None:
    """Content comes back under a new id, without the secret of the original; a reaction does not."""
    contact = await world.contact(pb.BEHAVIOUR_ECHO)
    companion = await world.companion()
    original = text("hello")
    original.messageContextInfo.messageSecret = b"s" * 32
    await companion.send(contact, original, "M1")
    node, message = await companion.next_message()
    assert message == text("hello")
    assert node.attrs["id"] != "M1"
    assert node.attrs["notify"] == "Cat"
    assert node.attrs["sender_pn"] == f"{CONTACT}@s.whatsapp.net"
    await companion.send(contact, e2e.Message(reactionMessage=e2e.ReactionMessage(text="👍")), "M2")
    await companion.next("receipt", "read")
    assert await companion.quiet()


async def test_a_script_is_spoken_line_by_line_and_again(world: World) -> None:
    """Each message gets the next line; after the last the first."""
    contact = await world.contact(pb.BEHAVIOUR_SCRIPT, "one", "two")
    companion = await world.companion()
    answers = []
    for number in range(3):
        await companion.send(contact, text("?"), f"M{number}")
        answers.append((await companion.next_message())[1].conversation)
    assert answers == ["one", "two", "one"]


async def test_an_answer_takes_its_time_and_holds_nothing_up(world: World) -> None:
    """While an answer is thought about, the next message is read."""
    contact = await world.contact(pb.BEHAVIOUR_SCRIPT, "well", delay=0.3)
    companion = await world.companion()
    start = asyncio.get_running_loop().time()
    for message_id in ("M1", "M2"):
        await companion.send(contact, text("?"), message_id)
        await companion.next("receipt", "read")
    # Waiting for receipts passes over messages, so both answers are still to come only if neither came before M2's.
    for _ in range(2):
        assert (await companion.next_message())[1] == text("well")
        assert asyncio.get_running_loop().time() - start >= 0.3
    assert world.players.contacts()[0].answer_delay.ToTimedelta().total_seconds() == 0.3


def _stored_image(world: World, plaintext: bytes) -> e2e.ImageMessage:
    """Store a file as a client does, and describe it."""
    media = encrypt_media(plaintext, MediaKind.IMAGE)
    return e2e.ImageMessage(
        directPath=world.server.store_media(media.data).direct_path,
        mediaKey=media.key,
        fileSHA256=media.sha256,
        fileEncSHA256=media.encrypted_sha256,
        caption="look",
    )


async def test_media_are_downloaded_and_decrypted(world: World) -> None:
    """The inbox holds the bytes of an image small and large; of an altered one it holds the message alone."""
    contact = await world.contact()
    companion = await world.companion()
    for number, plaintext in enumerate((b"small", bytes(400_000))):
        await companion.send(contact, e2e.Message(imageMessage=_stored_image(world, plaintext)), f"M{number}")
        await companion.next("receipt", "")
        received = world.players.inbox(CONTACT)[-1]
        assert (received.kind, received.text, received.media) == ("imageMessage", "look", plaintext)
    image = _stored_image(world, b"small")
    image.mediaKey = bytes(32)
    await companion.send(contact, e2e.Message(imageMessage=image), "M8")
    image.directPath = "/nowhere"
    await companion.send(contact, e2e.Message(imageMessage=image), "M9")
    await companion.next("receipt", "")
    await companion.next("receipt", "")
    assert [message.media for message in world.players.inbox(CONTACT)[2:]] == [b"", b""]


async def test_a_contact_speaks_to_the_phone_and_all_its_companions(world: World) -> None:
    """Every companion gets a copy of its own; the phone confirms its own copy to the contact."""
    await world.contact()
    companions = [await world.companion(), await world.companion()]
    message_id = await world.players.say(CONTACT, PHONE, Utterance(text="hi"))
    for companion in companions:
        node, message = await companion.next_message()
        assert (node.attrs["id"], node.attrs["type"], message.conversation) == (message_id, "text", "hi")


async def test_an_image_is_said(world: World) -> None:
    """What is downloaded by the message's own key and path is the image as given."""
    await world.contact()
    companion = await world.companion()
    encoded = io.BytesIO()
    Image.new("RGB", (64, 32), "green").save(encoded, "PNG")
    await world.players.say(CONTACT, PHONE, Utterance(image=encoded.getvalue(), caption="green"))
    node, message = await companion.next_message()
    enc = node.child("enc")
    assert enc is not None
    assert (node.attrs["type"], enc.attrs["mediatype"]) == ("media", "image")
    image = message.imageMessage
    assert (image.caption, image.width, image.height, image.mimetype) == ("green", 64, 32, "image/png")
    stored = world.server.load_media(image.directPath)
    hashes = {"sha256": image.fileSHA256, "encrypted_sha256": image.fileEncSHA256}
    assert decrypt_media(stored, MediaKind.IMAGE, key=image.mediaKey, **hashes) == encoded.getvalue()


async def test_any_content_is_said_under_a_chosen_id_also_twice(world: World) -> None:
    """Raw content passes through; an id used before replays it, encrypted anew."""
    await world.contact()
    companion = await world.companion()
    content = e2e.Message(locationMessage=e2e.LocationMessage(degreesLatitude=1.5))
    utterance = Utterance(content=content.SerializeToString(), message_id="CHOSEN")
    for _ in range(2):
        assert await world.players.say(CONTACT, PHONE, utterance) == "CHOSEN"
        node, message = await companion.next_message()
        assert (node.attrs["id"], message) == ("CHOSEN", content)


async def test_typing_is_shown(world: World) -> None:
    """Composing and paused reach the companion."""
    await world.contact()
    companion = await world.companion()
    for composing, state in ((True, "composing"), (False, "paused")):
        await world.players.typing(CONTACT, PHONE, composing=composing)
        node = await companion.next("chatstate")
        assert [child.tag for child in node.children()] == [state]
