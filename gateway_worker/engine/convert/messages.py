"""Arriving messages, and those that could not be decrypted."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.engine.convert import content, jids
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.waproto import neonize
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2

_PEER = "peer"


def message(payload: bytes, book: AddressBook) -> engine_pb2.MessageArrived | None:
    """Convert neonize's ``Message``; None for one that only devices exchange: it may hold keys and says nothing.

    Raises:
        google.protobuf.message.DecodeError: The payload is no such message.
    """
    arrived = neonize.Message.FromString(payload)
    unwrapped = content.unwrap(arrived.Message)
    if arrived.Info.Category == _PEER or content.is_between_devices(unwrapped.message):
        return None
    source = arrived.Info.MessageSource
    context = content.context_of(unwrapped.message)
    received = event_pb2.MessageReceived(
        id=arrived.Info.ID,
        chat=book.chat(source),
        sender=book.sender(source),
        sender_name=arrived.Info.Pushname,
        from_me=source.IsFromMe,
        group=source.Chat.Server == jids.GROUP,
        time=_time(arrived.Info.Timestamp),
        content=content.content_of(unwrapped.message, view_once=unwrapped.view_once or arrived.IsViewOnce),
    )
    if context is not None:
        received.mentions.extend(jids.without_device(mentioned) for mentioned in context.mentionedJID)
        received.forwarded = context.isForwarded
        if (quoted := content.quoted_of(context)) is not None:
            received.quoted.CopyFrom(quoted)
    return engine_pb2.MessageArrived(message=received, raw=arrived.Message.SerializeToString())


def undecryptable(payload: bytes, book: AddressBook) -> event_pb2.MessageUndecryptable:
    """Convert neonize's ``UndecryptableMessage``.

    Raises:
        google.protobuf.message.DecodeError: The payload is no such message.
    """
    arrived = neonize.UndecryptableMessage.FromString(payload)
    source = arrived.Info.MessageSource
    return event_pb2.MessageUndecryptable(
        id=arrived.Info.ID,
        chat=book.chat(source),
        sender=book.sender(source),
        time=_time(arrived.Info.Timestamp),
        unavailable=arrived.IsUnavailable,
    )


def _time(milliseconds: int) -> Timestamp:
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
