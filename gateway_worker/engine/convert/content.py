"""What an arriving message says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message as ProtobufMessage

from gateway_worker.engine.convert import jids
from gateway_worker.waproto import e2e
from wagateway.worker.v1 import content_pb2

_WRAPPERS: Final = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "editedMessage",
    "groupMentionedMessage",
    "botInvokeMessage",
    "lottieStickerMessage",
)
"""Fields that hold a whole message again."""

_VIEW_ONCE: Final = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
_ASIDE: Final = frozenset({"messageContextInfo", "senderKeyDistributionMessage"})
"""Fields that go along with a content and are none."""

_USER_PROTOCOLS: Final = frozenset(
    {
        e2e.ProtocolMessage.REVOKE,
        e2e.ProtocolMessage.MESSAGE_EDIT,
        e2e.ProtocolMessage.EPHEMERAL_SETTING,
        e2e.ProtocolMessage.SHARE_PHONE_NUMBER,
    }
)
"""Protocol messages that people cause in a chat; the others pass between devices, some with keys in them."""

_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A message out of its wrappers.

    Attributes:
        message: The innermost message.
        view_once: Whether a wrapper said that it can be looked at once only.
    """

    message: e2e.Message
    view_once: bool


def unwrap(message: e2e.Message) -> Unwrapped:
    """Take a message out of its wrappers; a nest deeper than any client makes is left as it is."""
    view_once = False
    for _ in range(_DEPTH):
        if message.HasField("deviceSentMessage") and message.deviceSentMessage.HasField("message"):
            message = message.deviceSentMessage.message
            continue
        name = next((name for name in _WRAPPERS if message.HasField(name)), None)
        inner = getattr(message, name) if name else None
        if name is None or inner is None or not inner.HasField("message"):
            break
        view_once = view_once or name in _VIEW_ONCE
        message = inner.message
    return Unwrapped(message, view_once)


def kind_of(message: e2e.Message) -> str:
    """Name of the field that holds the content, for example pollCreationMessage; empty when none is set."""
    return next((field.name for field, _ in message.ListFields() if field.name not in _ASIDE), "")


def is_between_devices(message: e2e.Message) -> bool:
    """Whether nobody said anything: keys and requests that devices exchange by way of messages."""
    kind = kind_of(message)
    if kind == "protocolMessage":
        return message.protocolMessage.type not in _USER_PROTOCOLS
    return not kind


def content_of(message: e2e.Message, *, view_once: bool) -> content_pb2.Content:
    """Convert an unwrapped message; a kind that is not decoded goes along as it is."""
    match kind_of(message):
        case "conversation":
            return content_pb2.Content(text=content_pb2.TextContent(text=message.conversation))
        case "extendedTextMessage":
            return content_pb2.Content(text=content_pb2.TextContent(text=message.extendedTextMessage.text))
        case "imageMessage":
            return content_pb2.Content(image=_image(message.imageMessage, view_once=view_once))
        case kind:
            unknown = content_pb2.UnknownContent(kind=kind, raw=message.SerializeToString())
            return content_pb2.Content(unknown=unknown)


def context_of(message: e2e.Message) -> e2e.ContextInfo | None:
    """The context of an unwrapped message: what it answers, whom it mentions; None when it has none."""
    kind = kind_of(message)
    held = getattr(message, kind) if kind else None
    if not isinstance(held, ProtobufMessage) or "contextInfo" not in held.DESCRIPTOR.fields_by_name:
        return None
    context = getattr(held, "contextInfo")  # noqa: B009 - the type checker does not know which message this is
    return context if held.HasField("contextInfo") and isinstance(context, e2e.ContextInfo) else None


def quoted_of(context: e2e.ContextInfo) -> content_pb2.QuotedMessage | None:
    """The message that is answered; None when there is none."""
    if not context.stanzaID:
        return None
    return content_pb2.QuotedMessage(
        message_id=context.stanzaID,
        sender=jids.without_device(context.participant),
        text=_preview(unwrap(context.quotedMessage).message),
    )


def _preview(message: e2e.Message) -> str:
    match kind_of(message):
        case "conversation":
            return message.conversation
        case "extendedTextMessage":
            return message.extendedTextMessage.text
        case "imageMessage":
            return message.imageMessage.caption
        case _:
            return ""


def _image(image: e2e.ImageMessage, *, view_once: bool) -> content_pb2.ImageContent:
    return content_pb2.ImageContent(
        caption=image.caption,
        info=content_pb2.MediaInfo(
            mime_type=image.mimetype,
            size=image.fileLength,
            sha256=image.fileSHA256,
            width=image.width,
            height=image.height,
            thumbnail=image.JPEGThumbnail,
        ),
        view_once=view_once or image.viewOnce,
    )
