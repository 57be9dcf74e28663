"""Records of a spool as events of the contract."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway_worker.engine.codes import Code
from gateway_worker.engine.convert import lifecycle, messages, presence, receipts
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.spool.format import Record
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_Converter: TypeAlias = Callable[[engine_pb2.EngineEvent, Record, AddressBook], bool]


def convert(event: engine_pb2.EngineEvent, position: int, record: Record, book: AddressBook) -> None:
    """Make an event of a record. Never fails: what cannot be converted goes out as it is, so that nothing is lost.

    Args:
        event: Where to write it, in place: a batch is not copied. What was in it is gone.
        position: The record's position; 0 for one that was not spooled.
        record: The record.
        book: Users' other addresses, asked and taught.
    """
    _begin(event, position, record)
    converter = _CONVERTERS.get(record.code)
    if converter is None:
        event.unconverted.code = record.code
        return
    try:
        used = converter(event, record, book)
    except Exception as error:  # noqa: BLE001 - a defect in a converter must cost no event and stop no stream
        # Not the exception's text: it may quote what the message says.
        logger.error("an event with code %d could not be converted: %s", record.code, type(error).__name__)  # noqa: TRY400
        _begin(event, position, record)
        event.unconverted.code = record.code
        event.unconverted.payload = record.payload
        return
    if not used:
        event.unconverted.code = record.code


def _begin(event: engine_pb2.EngineEvent, position: int, record: Record) -> None:
    event.Clear()
    event.position = position
    event.handle = record.handle
    event.time.seconds, event.time.nanos = divmod(record.time_ns, 1_000_000_000)


def _message(event: engine_pb2.EngineEvent, record: Record, book: AddressBook) -> bool:
    converted = messages.message(record.payload, book)
    if converted is not None:
        event.message.CopyFrom(converted)
    return converted is not None


def _receipt(event: engine_pb2.EngineEvent, record: Record, book: AddressBook) -> bool:
    converted = receipts.receipt(record.payload, book)
    if converted is not None:
        event.receipt.CopyFrom(converted)
    return converted is not None


def _undecryptable(event: engine_pb2.EngineEvent, record: Record, book: AddressBook) -> bool:
    event.undecryptable.CopyFrom(messages.undecryptable(record.payload, book))
    return True


def _chat_presence(event: engine_pb2.EngineEvent, record: Record, book: AddressBook) -> bool:
    event.chat_presence.CopyFrom(presence.chat_presence(record.payload, book))
    return True


def _presence(event: engine_pb2.EngineEvent, record: Record, book: AddressBook) -> bool:
    event.presence.CopyFrom(presence.presence(record.payload, book))
    return True


def _paired(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.paired.CopyFrom(lifecycle.paired(record.payload))
    return True


def _logged_in(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.logged_in.CopyFrom(lifecycle.logged_in(record.payload))
    return True


def _logged_out(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.logged_out.CopyFrom(lifecycle.logged_out(record.payload))
    return True


def _temporarily_banned(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.temporarily_banned.CopyFrom(lifecycle.temporarily_banned(record.payload, record.time_ns))
    return True


def _login_refused(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.login_refused.CopyFrom(lifecycle.login_refused(record.payload))
    return True


def _stream_error(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.stream_error.CopyFrom(lifecycle.stream_error(record.payload))
    return True


def _keepalive_timed_out(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
    event.keepalive_timed_out.CopyFrom(lifecycle.keepalive_timed_out(record.payload))
    return True


def _bare(field: str) -> _Converter:
    """Convert an event that says nothing but that it happened."""

    def convert_bare(event: engine_pb2.EngineEvent, _record: Record, _book: AddressBook) -> bool:
        getattr(event, field).SetInParent()
        return True

    return convert_bare


def _own(field: str) -> _Converter:
    """Take over an event whose payload is the contract's own message already."""

    def convert_own(event: engine_pb2.EngineEvent, record: Record, _book: AddressBook) -> bool:
        message = getattr(event, field)
        message.SetInParent()
        message.MergeFromString(record.payload)
        return True

    return convert_own


_CONVERTERS: Final[dict[int, _Converter]] = {
    Code.CONNECTED: _logged_in,
    Code.KEEPALIVE_TIMEOUT: _keepalive_timed_out,
    Code.KEEPALIVE_RESTORED: _bare("keepalive_restored"),
    Code.LOGGED_OUT: _logged_out,
    Code.STREAM_REPLACED: _bare("stream_replaced"),
    Code.TEMPORARY_BAN: _temporarily_banned,
    Code.CONNECT_FAILURE: _login_refused,
    Code.CLIENT_OUTDATED: _bare("client_outdated"),
    Code.STREAM_ERROR: _stream_error,
    Code.DISCONNECTED: _bare("connection_lost"),
    Code.MESSAGE: _message,
    Code.RECEIPT: _receipt,
    Code.CHAT_PRESENCE: _chat_presence,
    Code.PRESENCE: _presence,
    Code.UNDECRYPTABLE: _undecryptable,
    Code.QR: _own("qr"),
    Code.LINKING_ENDED: _own("linking_ended"),
    Code.PAIRED: _paired,
    Code.CLIENT_ENDED: _own("client_ended"),
}
