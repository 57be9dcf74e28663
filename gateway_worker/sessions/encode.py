"""From what the core keeps to what the contract says."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.recipients import e164_of
from gateway_worker.ports.ephemera import Code
from gateway_worker.ports.records import Account, EventDraft, SessionRecord
from gateway_worker.sessions import qr
from wagateway.worker.v1 import event_pb2, session_pb2

_NANOS = 1_000_000_000


def timestamp(seconds: float) -> Timestamp:
    """A timestamp of Unix seconds, to the microsecond."""
    micros = round(seconds * 1_000_000)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


def unix(moment: Timestamp) -> float:
    """Unix seconds of a timestamp."""
    return float(moment.seconds + moment.nanos / _NANOS)


def status_message(record: SessionRecord) -> session_pb2.SessionStatus:
    """The state of a session with its reason and time."""
    lifecycle = record.lifecycle
    status = session_pb2.SessionStatus(
        state=session_pb2.SessionState.ValueType(lifecycle.state),
        reason=session_pb2.StateReason.ValueType(lifecycle.reason),
        since=timestamp(record.since),
    )
    if lifecycle.banned_until is not None:
        status.banned_until.CopyFrom(timestamp(lifecycle.banned_until))
    return status


def account_message(account: Account) -> session_pb2.Account:
    """The account a session is linked to."""
    return session_pb2.Account(
        jid=account.jid,
        lid=account.lid,
        phone_number=e164_of(account.jid),
        push_name=account.push_name,
        link_time=timestamp(account.linked_at),
    )


def session_message(record: SessionRecord) -> session_pb2.Session:
    """A session as clients see it."""
    message = session_pb2.Session(
        id=record.key.session,
        labels=record.labels,
        settings=session_pb2.SessionSettings(default_region=record.default_region, device_name=record.device_name),
        status=status_message(record),
        create_time=timestamp(record.created_at),
        update_time=timestamp(record.updated_at),
        connection_wanted=record.lifecycle.wanted,
    )
    if record.account is not None:
        message.account.CopyFrom(account_message(record.account))
    return message


def pairing_message(code: Code) -> session_pb2.Pairing:
    """A code with its pictures. Drawing a QR code takes some 10 ms: see :mod:`gateway_worker.sessions.qr`."""
    expire_time = timestamp(code.expires_at)
    if code.pairing_code:
        return session_pb2.Pairing(pairing_code=code.pairing_code, expire_time=expire_time)
    drawing = qr.draw(code.qr)
    return session_pb2.Pairing(qr=code.qr, png=drawing.png, terminal=drawing.terminal, expire_time=expire_time)


def draft(key: SessionKey, event: event_pb2.Event, at: float) -> EventDraft:
    """Make a draft for the journal of an event in which only the kind is set."""
    kind = event.WhichOneof("kind")
    assert kind is not None, "an event without a kind cannot be journalled"  # noqa: S101 - a bug here, not bad input
    event.session_id = key.session
    event.time.CopyFrom(timestamp(at))
    return EventDraft(key, event.DESCRIPTOR.fields_by_name[kind].number, at, event.SerializeToString())


def state_event(record: SessionRecord, previous: int, at: float) -> EventDraft:
    """Make a draft that tells of a changed state."""
    change = event_pb2.SessionStateChanged(
        status=status_message(record), previous=session_pb2.SessionState.ValueType(previous)
    )
    return draft(record.key, event_pb2.Event(session_state=change), at)
