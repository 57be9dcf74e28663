"""Who types, who is online."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.waproto import neonize
from wagateway.worker.v1 import event_pb2


def chat_presence(payload: bytes, book: AddressBook) -> event_pb2.ChatPresence:
    """Convert neonize's ``ChatPresence``.

    Raises:
        google.protobuf.message.DecodeError: The payload is no such message.
    """
    arrived = neonize.ChatPresence.FromString(payload)
    activity = event_pb2.CHAT_ACTIVITY_PAUSED
    if arrived.State == neonize.ChatPresence.COMPOSING:
        recording = arrived.Media == neonize.ChatPresence.AUDIO
        activity = event_pb2.CHAT_ACTIVITY_RECORDING if recording else event_pb2.CHAT_ACTIVITY_TYPING
    source = arrived.MessageSource
    return event_pb2.ChatPresence(chat=book.chat(source), sender=book.sender(source), activity=activity)


def presence(payload: bytes, book: AddressBook) -> event_pb2.Presence:
    """Convert neonize's ``Presence``.

    Raises:
        google.protobuf.message.DecodeError: The payload is no such message.
    """
    arrived = neonize.Presence.FromString(payload)
    converted = event_pb2.Presence(user=book.user(arrived.From), online=not arrived.Unavailable)
    if arrived.LastSeen > 0:  # Go's zero time is a large negative number
        converted.last_seen.CopyFrom(Timestamp(seconds=arrived.LastSeen))
    return converted
