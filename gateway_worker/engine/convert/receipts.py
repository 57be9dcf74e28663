"""Receipts: how far messages got."""

from __future__ import annotations

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.waproto import neonize
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2

_STATUS: Final = {
    neonize.Receipt.DELIVERED: event_pb2.MESSAGE_STATUS_DELIVERED,
    # A device that is not in use took it: it has it, and phones show it as delivered once they are.
    neonize.Receipt.INACTIVE: event_pb2.MESSAGE_STATUS_DELIVERED,
    neonize.Receipt.READ: event_pb2.MESSAGE_STATUS_READ,
    neonize.Receipt.READ_SELF: event_pb2.MESSAGE_STATUS_READ,
    neonize.Receipt.PLAYED: event_pb2.MESSAGE_STATUS_PLAYED,
    neonize.Receipt.PLAYED_SELF: event_pb2.MESSAGE_STATUS_PLAYED,
    # neonize encodes whatsmeow's played-self as SERVER_ERROR; a real server error it cannot encode at all.
    neonize.Receipt.SERVER_ERROR: event_pb2.MESSAGE_STATUS_PLAYED,
}
"""The rest (retry, sender, peer message, history sync) is between devices."""

_OWN: Final = frozenset({neonize.Receipt.READ_SELF, neonize.Receipt.PLAYED_SELF, neonize.Receipt.SERVER_ERROR})


def receipt(payload: bytes, book: AddressBook) -> engine_pb2.ReceiptArrived | None:
    """Convert neonize's ``Receipt``; None for one that says nothing about how far a message got.

    Raises:
        google.protobuf.message.DecodeError: The payload is no such message.
    """
    arrived = neonize.Receipt.FromString(payload)
    status = _STATUS.get(arrived.Type)
    if status is None:
        return None
    source = arrived.MessageSource
    return engine_pb2.ReceiptArrived(
        chat=book.chat(source),
        sender=book.sender(source),
        message_ids=arrived.MessageIDs,
        status=status,
        from_me=source.IsFromMe or arrived.Type in _OWN,
        time=Timestamp(seconds=arrived.Timestamp),
    )
