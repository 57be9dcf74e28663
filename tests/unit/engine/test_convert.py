"""From neonize's messages to the contract's."""

from __future__ import annotations

import logging

import pytest

from gateway_worker.engine.codes import Code
from gateway_worker.engine.convert import jids
from gateway_worker.engine.convert.events import convert
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.spool.format import Record
from gateway_worker.waproto import e2e, neonize
from tests.support.fake_library import DEVICE
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2, event_pb2

PHONE = "6281200000001"
LID = "200000000000001"
SEEN = 1_790_000_000_123_456_789


def jid(user: str = "", server: str = "", device: int = 0) -> neonize.JID:
    """A JID; the empty one by default."""
    return neonize.JID(User=user, RawAgent=0, Device=device, Integrator=0, Server=server, IsEmpty=not server)


def source(
    chat: neonize.JID,
    sender: neonize.JID,
    *,
    sender_alt: neonize.JID | None = None,
    recipient_alt: neonize.JID | None = None,
    from_me: bool = False,
) -> neonize.MessageSource:
    """Where a stanza comes from."""
    return neonize.MessageSource(
        Chat=chat,
        Sender=sender,
        IsFromMe=from_me,
        IsGroup=chat.Server == jids.GROUP,
        SenderAlt=sender_alt or jid(),
        RecipientAlt=recipient_alt or jid(),
        BroadcastListOwner=jid(),
    )


FROM_LID = source(jid(LID, "lid"), jid(LID, "lid", 4), sender_alt=jid(PHONE, "s.whatsapp.net", 4))


def info(where: neonize.MessageSource, category: str = "") -> neonize.MessageInfo:
    """What a message's stanza said."""
    return neonize.MessageInfo(
        MessageSource=where,
        ID="3EB0",
        ServerID=0,
        Type="text",
        Pushname="Ratna",
        Timestamp=1_790_000_000_500,
        Category=category,
        Multicast=False,
        MediaType="",
        Edit="",
    )


def arrived(message: e2e.Message, where: neonize.MessageSource = FROM_LID, **options: object) -> engine_pb2.EngineEvent:
    """Convert a message that arrived."""
    category = str(options.pop("category", ""))
    view_once = bool(options.pop("view_once", False))
    payload = neonize.Message(Info=info(where, category), Message=message, IsViewOnce=view_once)
    converted = engine_pb2.EngineEvent()
    convert(converted, 7, Record("s", SEEN, Code.MESSAGE, payload.SerializePartialToString()), AddressBook())
    return converted


def event(code: int, payload: bytes = b"") -> engine_pb2.EngineEvent:
    """Convert any event."""
    converted = engine_pb2.EngineEvent(position=99, qr=engine_pb2.QrOffered(code="what was there before"))
    convert(converted, 1, Record("s", SEEN, code, payload), AddressBook())
    return converted


def test_a_plain_text() -> None:
    """Position, handle, times, addresses by both kinds, name and text; the raw message goes along."""
    message = e2e.Message(conversation="hello")
    converted = arrived(message)
    received = converted.message.message
    assert (converted.position, converted.handle, converted.time.ToNanoseconds()) == (7, "s", SEEN)
    assert converted.message.raw == message.SerializeToString()
    assert (received.id, received.sender_name, received.time.ToMilliseconds()) == ("3EB0", "Ratna", 1_790_000_000_500)
    assert received.chat == f"{PHONE}@s.whatsapp.net"
    assert received.sender == event_pb2.User(
        id=f"{LID}@lid", phone_number=f"+{PHONE}", phone_jid=f"{PHONE}@s.whatsapp.net", lid=f"{LID}@lid"
    )
    assert received.content.text.text == "hello"
    assert (received.from_me, received.group, received.forwarded) == (False, False, False)
    assert not received.HasField("quoted")


def test_an_answer_with_mentions() -> None:
    """Quoted message, mentions and the forwarded mark come from the context, without devices."""
    context = e2e.ContextInfo(
        stanzaID="OLD",
        participant=f"{PHONE}:4@s.whatsapp.net",
        quotedMessage=e2e.Message(imageMessage=e2e.ImageMessage(caption="then")),
        mentionedJID=[f"{LID}:1@lid"],
        isForwarded=True,
    )
    text = e2e.ExtendedTextMessage(text="now", contextInfo=context)
    received = arrived(e2e.Message(extendedTextMessage=text)).message.message
    assert received.content.text.text == "now"
    assert received.quoted == content_pb2.QuotedMessage(message_id="OLD", sender=f"{PHONE}@s.whatsapp.net", text="then")
    assert list(received.mentions) == [f"{LID}@lid"]
    assert received.forwarded


def test_an_image() -> None:
    """What the sender said about an image is told as it is."""
    image = e2e.ImageMessage(
        caption="look", mimetype="image/png", fileLength=12, fileSHA256=b"h" * 32, width=3, height=4, JPEGThumbnail=b"t"
    )
    received = arrived(e2e.Message(imageMessage=image)).message.message
    assert received.content.image == content_pb2.ImageContent(
        caption="look",
        info=content_pb2.MediaInfo(mime_type="image/png", size=12, sha256=b"h" * 32, width=3, height=4, thumbnail=b"t"),
    )


@pytest.mark.parametrize("wrapper", ["viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"])
def test_a_wrapper_that_says_view_once(wrapper: str) -> None:
    """View-once is told whether the wrapper is still there or the library took it off."""
    inner = e2e.Message(imageMessage=e2e.ImageMessage(caption="once"))
    wrapped = e2e.Message()
    getattr(wrapped, wrapper).message.CopyFrom(inner)
    assert arrived(wrapped).message.message.content.image.view_once
    assert arrived(inner, view_once=True).message.message.content.image.view_once


def test_wrappers_within_wrappers() -> None:
    """A copy of what another device sent, disappearing, is what it is inside."""
    inner = e2e.Message(ephemeralMessage=e2e.FutureProofMessage(message=e2e.Message(conversation="deep")))
    outer = e2e.Message(deviceSentMessage=e2e.DeviceSentMessage(message=inner))
    assert arrived(outer).message.message.content.text.text == "deep"


def test_a_nest_without_end_is_left_alone() -> None:
    """A message that wraps itself too often is passed on as something unknown, not followed to its end."""
    message = e2e.Message(conversation="core")
    for _ in range(20):
        message = e2e.Message(ephemeralMessage=e2e.FutureProofMessage(message=message))
    assert arrived(message).message.message.content.unknown.kind == "ephemeralMessage"


def test_a_kind_that_is_not_decoded() -> None:
    """It goes along under its name, with all that is in it."""
    message = e2e.Message(pollCreationMessage=e2e.PollCreationMessage(name="lunch?"))
    message.messageContextInfo.messageSecret = b"s"
    unknown = arrived(message).message.message.content.unknown
    assert unknown.kind == "pollCreationMessage"
    assert e2e.Message.FromString(unknown.raw) == message


@pytest.mark.parametrize(
    "message",
    [
        e2e.Message(protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE)),
        e2e.Message(senderKeyDistributionMessage=e2e.SenderKeyDistributionMessage(groupID="g")),
        e2e.Message(),
    ],
)
def test_what_devices_tell_each_other_is_no_message(message: e2e.Message) -> None:
    """Keys that devices exchange are not handed out: the event has neither content nor payload."""
    assert arrived(message).unconverted == engine_pb2.Unconverted(code=Code.MESSAGE)
    assert arrived(e2e.Message(conversation="x"), category="peer").unconverted.payload == b""


def test_a_revocation_is_a_message() -> None:
    """What a person does in a chat is told, even where it is not decoded yet."""
    revoke = e2e.Message(protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.REVOKE))
    assert arrived(revoke).message.message.content.unknown.kind == "protocolMessage"


def test_a_group_and_an_own_message() -> None:
    """A group keeps its JID; what the account itself wrote belongs to the chat of its recipient."""
    group = arrived(e2e.Message(conversation="x"), source(jid("1-2", "g.us"), jid(LID, "lid", 4)))
    assert (group.message.message.chat, group.message.message.group) == ("1-2@g.us", True)
    assert group.message.message.sender == event_pb2.User(id=f"{LID}@lid", lid=f"{LID}@lid")
    own = source(jid("99", "lid"), jid(LID, "lid"), recipient_alt=jid("62", "s.whatsapp.net"), from_me=True)
    sent = arrived(e2e.Message(conversation="x"), own).message.message
    assert (sent.chat, sent.from_me) == ("62@s.whatsapp.net", True)


def test_a_pair_of_addresses_is_learned() -> None:
    """An event with both addresses serves the later ones that carry one; a miss is noted."""
    book = AddressBook()
    alone = source(jid(LID, "lid"), jid(LID, "lid"))
    assert book.chat(alone) == f"{LID}@lid"
    assert book.missed() == {LID}
    book.sender(FROM_LID)
    assert book.chat(alone) == f"{PHONE}@s.whatsapp.net"
    assert book.user(jid(PHONE, "s.whatsapp.net")).lid == f"{LID}@lid"
    assert book.missed() == set()


def test_the_book_forgets_the_longest_unused() -> None:
    """It stays small, whatever passes by."""
    book = AddressBook()
    for number in range(20_001):
        book.learn(f"l{number}", f"p{number}")
    assert (book.phone_of("l0"), book.lid_of("p0")) == ("", "")
    assert book.phone_of("l20000") == "p20000"


@pytest.mark.parametrize(
    ("kind", "status", "own"),
    [
        (neonize.Receipt.DELIVERED, event_pb2.MESSAGE_STATUS_DELIVERED, False),
        (neonize.Receipt.INACTIVE, event_pb2.MESSAGE_STATUS_DELIVERED, False),
        (neonize.Receipt.READ, event_pb2.MESSAGE_STATUS_READ, False),
        (neonize.Receipt.READ_SELF, event_pb2.MESSAGE_STATUS_READ, True),
        (neonize.Receipt.PLAYED, event_pb2.MESSAGE_STATUS_PLAYED, False),
        (neonize.Receipt.SERVER_ERROR, event_pb2.MESSAGE_STATUS_PLAYED, True),
    ],
)
def test_receipts(
    kind: neonize.Receipt.ReceiptType.ValueType, status: event_pb2.MessageStatus.ValueType, *, own: bool
) -> None:
    """How far messages got, and whether it is the account's own other device that says so."""
    payload = neonize.Receipt(MessageSource=FROM_LID, MessageIDs=["a", "b"], Timestamp=5, Type=kind)
    receipt = event(Code.RECEIPT, payload.SerializeToString()).receipt
    assert (receipt.status, receipt.from_me, list(receipt.message_ids)) == (status, own, ["a", "b"])
    assert (receipt.chat, receipt.time.seconds) == (f"{PHONE}@s.whatsapp.net", 5)


@pytest.mark.parametrize("kind", [neonize.Receipt.RETRY, neonize.Receipt.SENDER, neonize.Receipt.PEER_MSG])
def test_receipts_between_devices_are_no_status(kind: neonize.Receipt.ReceiptType.ValueType) -> None:
    """A request to send again is not a delivery."""
    payload = neonize.Receipt(MessageSource=FROM_LID, MessageIDs=["a"], Timestamp=5, Type=kind)
    assert event(Code.RECEIPT, payload.SerializeToString()).unconverted.code == Code.RECEIPT


def test_undecryptable() -> None:
    """Which message of whom, and whether it will come."""
    payload = neonize.UndecryptableMessage(
        Info=info(FROM_LID), IsUnavailable=True, DecryptFailMode=neonize.UndecryptableMessage.DECRYPT_FAIL_SHOW
    )
    converted = event(Code.UNDECRYPTABLE, payload.SerializeToString()).undecryptable
    assert (converted.id, converted.unavailable) == ("3EB0", True)
    assert converted.sender.phone_jid == f"{PHONE}@s.whatsapp.net"


@pytest.mark.parametrize(
    ("state", "media", "activity"),
    [
        (neonize.ChatPresence.COMPOSING, neonize.ChatPresence.TEXT, event_pb2.CHAT_ACTIVITY_TYPING),
        (neonize.ChatPresence.COMPOSING, neonize.ChatPresence.AUDIO, event_pb2.CHAT_ACTIVITY_RECORDING),
        (neonize.ChatPresence.PAUSED, neonize.ChatPresence.TEXT, event_pb2.CHAT_ACTIVITY_PAUSED),
    ],
)
def test_chat_presence(
    state: neonize.ChatPresence.ChatPresence.ValueType,
    media: neonize.ChatPresence.ChatPresenceMedia.ValueType,
    activity: event_pb2.ChatActivity.ValueType,
) -> None:
    """Typing, recording, nothing."""
    payload = neonize.ChatPresence(MessageSource=FROM_LID, State=state, Media=media)
    assert event(Code.CHAT_PRESENCE, payload.SerializeToString()).chat_presence.activity == activity


def test_presence() -> None:
    """Online and when last seen; Go's zero time is no time."""
    gone = neonize.Presence(From=jid(LID, "lid"), Unavailable=True, LastSeen=9)
    here = neonize.Presence(From=jid(LID, "lid"), Unavailable=False, LastSeen=-62135596800)
    assert event(Code.PRESENCE, gone.SerializeToString()).presence.last_seen.seconds == 9
    online = event(Code.PRESENCE, here.SerializeToString()).presence
    assert online.online
    assert not online.HasField("last_seen")


NODE = neonize.Node(Tag="failure", Nil=True)


@pytest.mark.parametrize(
    ("code", "payload", "expected"),
    [
        (
            Code.PAIRED,
            DEVICE,
            engine_pb2.EngineEvent(paired=engine_pb2.Paired(jid=f"{PHONE}:3@s.whatsapp.net", lid=f"{LID}@lid")),
        ),
        (
            Code.CONNECTED,
            DEVICE,
            engine_pb2.EngineEvent(logged_in=engine_pb2.LoggedIn(jid=f"{PHONE}:3@s.whatsapp.net", lid=f"{LID}@lid")),
        ),
        (
            Code.LOGGED_OUT,
            neonize.LoggedOut(OnConnect=True, Reason=neonize.MAIN_DEVICE_GONE).SerializeToString(),
            engine_pb2.EngineEvent(logged_out=engine_pb2.LoggedOut(code=403)),
        ),
        (
            Code.LOGGED_OUT,
            neonize.LoggedOut(OnConnect=False, Reason=neonize.LOGGED_OUT).SerializeToString(),
            engine_pb2.EngineEvent(logged_out=engine_pb2.LoggedOut()),
        ),
        (Code.LOGGED_OUT, b"", engine_pb2.EngineEvent(logged_out=engine_pb2.LoggedOut())),
        (
            Code.CONNECT_FAILURE,
            neonize.ConnectFailure(Reason=neonize.EXPERIMENTAL, Message="", Raw=NODE).SerializePartialToString(),
            engine_pb2.EngineEvent(login_refused=engine_pb2.LoginRefused(code=501)),
        ),
        (Code.CONNECT_FAILURE, b"", engine_pb2.EngineEvent(login_refused=engine_pb2.LoginRefused())),
        (Code.TEMPORARY_BAN, b"", engine_pb2.EngineEvent(temporarily_banned=engine_pb2.TemporarilyBanned())),
        (
            Code.STREAM_ERROR,
            neonize.StreamError(Code="500", Raw=NODE).SerializePartialToString(),
            engine_pb2.EngineEvent(stream_error=engine_pb2.StreamError(code="500")),
        ),
        (
            Code.KEEPALIVE_TIMEOUT,
            neonize.KeepAliveTimeout(ErrorCount=2, LastSuccess=1).SerializeToString(),
            engine_pb2.EngineEvent(keepalive_timed_out=engine_pb2.KeepaliveTimedOut(errors=2)),
        ),
        (
            Code.KEEPALIVE_RESTORED,
            b"",
            engine_pb2.EngineEvent(keepalive_restored=engine_pb2.KeepaliveRestored()),
        ),
        (Code.STREAM_REPLACED, b"", engine_pb2.EngineEvent(stream_replaced=engine_pb2.StreamReplaced())),
        (Code.CLIENT_OUTDATED, b"", engine_pb2.EngineEvent(client_outdated=engine_pb2.ClientOutdated())),
        (
            Code.DISCONNECTED,
            neonize.Disconnected(status=True).SerializeToString(),
            engine_pb2.EngineEvent(connection_lost=engine_pb2.ConnectionLost()),
        ),
        (
            Code.LINKING_ENDED,
            b"",
            engine_pb2.EngineEvent(linking_ended=engine_pb2.LinkingEnded()),
        ),
    ],
)
def test_what_happens_to_a_client(code: Code, payload: bytes, expected: engine_pb2.EngineEvent) -> None:
    """Each kind under the name that the contract gives it."""
    converted = event(code, payload)
    expected.position, expected.handle = 1, "s"
    expected.time.CopyFrom(converted.time)
    assert converted == expected


def test_a_ban_ends_when_it_was_said_to() -> None:
    """The library tells what is left of a ban, the contract when it ends; the code is WhatsApp's own."""
    payload = neonize.TemporaryBan(Code=neonize.TemporaryBan.BROADCAST_LIST, Expire=3600)
    banned = event(Code.TEMPORARY_BAN, payload.SerializeToString()).temporarily_banned
    assert (banned.code, banned.until.seconds) == (106, SEEN // 1_000_000_000 + 3600)


def test_what_cannot_be_converted_goes_out_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A payload that is no message costs nothing but its conversion, and is not in the log."""
    with caplog.at_level(logging.ERROR):
        converted = event(Code.RECEIPT, b"\xff secret words")
    assert converted.unconverted == engine_pb2.Unconverted(code=Code.RECEIPT, payload=b"\xff secret words")
    assert converted.position == 1
    assert "secret words" not in caplog.text
    assert event(23).unconverted == engine_pb2.Unconverted(code=23)


@pytest.mark.parametrize(
    "text", ["62@s.whatsapp.net", "62:3@s.whatsapp.net", "1-2@g.us", "62.1:3@lid", "status@broadcast"]
)
def test_jids_are_what_they_were(text: str) -> None:
    """Parsing and rendering is the identity."""
    assert jids.device_text(jids.parse(text)) == text


@pytest.mark.parametrize("text", ["", "62", "@lid", "a b@lid", "62@", "6:2:3@lid", "62@lid\n"])
def test_what_is_no_jid(text: str) -> None:
    """Refused, not guessed."""
    with pytest.raises(jids.InvalidJidError):
        jids.parse(text)
