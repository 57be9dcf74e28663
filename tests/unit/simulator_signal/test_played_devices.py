"""What every played device does: repeat and have repeated, doubt, and survive nonsense; and what a phone does."""

from __future__ import annotations

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import Utterance
from gateway_worker.simulator.signal import SignalDevice
from gateway_worker.waproto import e2e
from tests.support.simulated_companion import SimulatedCompanion, is_first
from tests.support.simulated_world import CONTACT, PHONE, World, text
from wagateway.simulator.v1 import simulator_pb2 as pb


async def test_a_repeated_message_is_marked_and_not_answered_again(world: World) -> None:
    """The same id encrypted anew is a duplicate in the inbox; the same ciphertext is only confirmed once more."""
    contact = await world.contact(pb.BEHAVIOUR_ECHO)
    companion = await world.companion()
    enc = await companion.send(contact, text("hello"), "M1")
    await companion.next_message()
    await companion.send(contact, text("hello"), "M1")
    await companion.next("receipt", "")
    await companion.send_enc(contact, enc, "M1", proof=companion.proof)
    assert (await companion.next("receipt", "")).attrs["id"] == "M1"
    assert [message.duplicate for message in world.players.inbox(CONTACT)] == [False, True]
    assert await companion.quiet()


async def test_what_a_contact_cannot_decrypt_is_asked_for_again(world: World) -> None:
    """Without a session the contact asks, with new keys; the repetition by those keys arrives as usual."""
    contact = await world.contact()
    companion = await world.companion()
    await companion.send(contact, text("first"), "M1")
    await companion.next("receipt", "")
    await world.players.say(CONTACT, PHONE, Utterance(text="so that the session is without prekeys"))
    await companion.next_message()
    device = world.players._contacts[CONTACT].device
    device._signal.forget(companion.address)
    await companion.send(contact, text("lost"), "M2")
    retry = await companion.next("receipt", "retry")
    assert retry.attrs["id"] == "M2"
    request, keys = retry.child("retry"), retry.child("keys")
    assert request is not None
    assert keys is not None
    assert request.attrs["count"] == "1"
    assert {"type", "identity", "key", "skey"} == {child.tag for child in keys.children()}
    companion.signal.forget(contact.address(0))
    await companion.send_enc(contact, companion.encrypt(contact.address(0), text("lost")), "M2", proof=companion.proof)
    assert (await companion.next("receipt", "")).attrs["id"] == "M2"
    assert [message.text for message in world.players.inbox(CONTACT)] == ["first", "lost"]


async def test_a_contact_stops_asking(world: World) -> None:
    """A message that never decrypts is asked for a few times, each time with a higher count, and then let be."""
    contact = await world.contact()
    companion = await world.companion()
    counts = []
    for _ in range(6):
        await companion.send_enc(contact, Node("enc", {"v": "2", "type": "msg"}, b"\x33garbage" * 5), "M1")
    for _ in range(4):
        request = (await companion.next("receipt", "retry")).child("retry")
        assert request is not None
        counts.append(request.attrs["count"])
    assert counts == ["1", "2", "3", "4"]
    assert await companion.quiet()


async def test_what_a_companion_cannot_decrypt_is_said_again(world: World) -> None:
    """On a retry receipt the contact encrypts the message anew, in a new session, for that device alone."""
    contact = await world.contact()
    companion, other = await world.companion(), await world.companion()
    message_id = await world.players.say(CONTACT, PHONE, Utterance(text="hi"))
    await companion.next("message")
    await other.next_message()
    attrs = {"id": message_id, "to": f"{contact.lid}@lid", "type": "retry"}
    await companion.route(Node("receipt", attrs, [Node("retry", {"id": message_id, "count": "1", "v": "1"})]))
    node, message = await companion.next_message()
    enc = node.child("enc")
    assert enc is not None
    assert is_first(enc)
    assert enc.attrs["count"] == "1"
    assert (node.attrs["id"], message.conversation) == (message_id, "hi")
    assert await other.quiet()


async def test_a_retry_for_nothing_is_ignored(world: World) -> None:
    """An unknown id, an endless count, a count that is none, and somebody else's message: nothing comes of them."""
    contact = await world.contact()
    companion = await world.companion()
    message_id = await world.players.say(CONTACT, PHONE, Utterance(text="hi"))
    await companion.next_message()
    for stanza_id, count in (("UNKNOWN", "1"), (message_id, "99"), (message_id, "many")):
        attrs = {"id": stanza_id, "to": f"{contact.lid}@lid", "type": "retry"}
        await companion.route(Node("receipt", attrs, [Node("retry", {"id": stanza_id, "count": count})]))
    elsewhere = world.server.create_account("", "")
    await world.players.add_phone(elsewhere)
    stranger = SimulatedCompanion(world.server, elsewhere)
    retry = Node("retry", {"id": message_id, "count": "1"})
    receipt = Node("receipt", {"id": message_id, "to": f"{contact.lid}@lid", "type": "retry"}, [retry])
    await stranger.log_in()
    await stranger.next_message()
    await stranger.route(receipt)
    assert await stranger.quiet()
    assert await companion.quiet()
    await companion.send(contact, text("still there?"), "M1")
    await companion.next("receipt", "")


async def test_a_companion_without_proof_is_not_believed(world: World) -> None:
    """A first message without, or with another device's, proof of belonging to the account is ignored."""
    contact = await world.contact()
    companion, other = await world.companion(), await world.companion()
    enc = companion.encrypt(contact.address(0), text("trust me"))
    await companion.send_enc(contact, enc, "M1")
    await companion.send_enc(contact, enc, "M2", proof=other.proof)
    assert await companion.quiet()
    await companion.send_enc(contact, enc, "M3", proof=companion.proof)
    await companion.next("receipt", "")
    assert [message.id for message in world.players.inbox(CONTACT)] == ["M3"]


async def test_garbage_harms_nobody(world: World) -> None:
    """Stanzas without content, with foreign content and with undecodable content; then everything still works."""
    contact = await world.contact()
    companion = await world.companion()
    attrs = {"to": f"{contact.lid}@lid", "type": "text"}
    for number, enc in enumerate((Node("enc", {"v": "9"}, b""), Node("enc", {"v": "2", "type": "msg"}, [Node("x")]))):
        await companion.route(Node("message", attrs | {"id": f"G{number}"}, [enc]))
    undecodable = companion.encrypt(contact.address(0), e2e.Message())
    await world.players._contacts[CONTACT].device.deliver(Node("message", {"id": "G3"}))
    await companion.send_enc(contact, undecodable, "G4", proof=companion.proof)
    await companion.send(contact, text("well"), "M1")
    while (await companion.next("receipt", "")).attrs["id"] != "M1":
        pass
    assert world.players.inbox(CONTACT)[-1].text == "well"


async def test_prekeys_are_made_before_they_run_out(world: World) -> None:
    """However many devices write, there is a one-time prekey for the next."""
    contact = await world.contact()
    companion = await world.companion()
    for number in range(60):
        companion.signal = SignalDevice(companion.signal.identity)
        await companion.send(contact, text("new device, so to speak"), f"M{number}")
        await companion.next("receipt", "")
    bundle = world.server.take_bundle(contact.address(0))
    assert bundle is not None
    assert bundle.one_time_prekey is not None


async def test_the_phone_greets_a_companion_with_the_app_state_key(world: World) -> None:
    """The key share comes as a peer message from device 0, and again when the companion asks for it."""
    companion = SimulatedCompanion(world.server, world.phone)
    await companion.log_in()
    node, message = await companion.next_message()
    assert node.attrs["category"] == "peer"
    assert node.attrs["from"].partition("@")[0] in {PHONE, world.phone.lid}
    (key,) = message.protocolMessage.appStateSyncKeyShare.keys
    assert world.server.app_state_version(PHONE, "critical_block") == 1

    request = e2e.Message(protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.APP_STATE_SYNC_KEY_REQUEST))
    attrs = {"to": world.phone.address(0).pn_jid, "id": "P1", "type": "text", "category": "peer"}
    await companion.route(Node("message", attrs, [companion.encrypt(world.phone.address(0), request)]))
    assert (await companion.next("receipt", "peer_msg")).attrs["id"] == "P1"
    _, again = await companion.next_message()
    assert again.protocolMessage.appStateSyncKeyShare.keys == [key]


async def test_the_phone_keeps_up_with_its_companions(world: World) -> None:
    """Its copy of what a companion sends is acknowledged; a copy it cannot read is asked for again."""
    contact = await world.contact(pb.BEHAVIOUR_OFFLINE)
    companion = await world.companion()
    await companion.send(contact, text("hello"), "M1")
    receipt = await companion.next("receipt", "sender")
    assert (receipt.attrs["id"], receipt.attrs["recipient"]) == ("M1", f"{contact.lid}@lid")
    world.players._phones[PHONE].device._signal.forget(companion.address)
    await companion.send(contact, text("again"), "M2")
    assert (await companion.next("receipt", "retry")).attrs["id"] == "M2"
