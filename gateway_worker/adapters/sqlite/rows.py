"""Records as rows and back: the order of columns is known here and nowhere else."""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from gateway_worker.domain.ids import SessionId, SessionKey, TenantId
from gateway_worker.domain.lifecycle import Lifecycle, Reason, State
from gateway_worker.ports.records import Account, SendRecord, SessionRecord

Row: TypeAlias = tuple[Any, ...]

SESSION_COLUMNS: Final = (
    "tenant, session, version, generation, labels, default_region, device_name, state, reason, linked, wanted, "
    "banned_until, since, account_jid, account_lid, account_push_name, account_linked_at, created_at, updated_at"
)
SEND_COLUMNS: Final = (
    "send_id, tenant, session, idempotency_key, fingerprint, secret, chat, handed_at, message_id, acked_at, status"
)


def session_row(record: SessionRecord) -> Row:
    """Values for :data:`SESSION_COLUMNS`."""
    life, account = record.lifecycle, record.account
    return (
        record.key.tenant,
        record.key.session,
        record.version,
        record.generation,
        json.dumps(dict(record.labels), ensure_ascii=False),
        record.default_region,
        record.device_name,
        int(life.state),
        int(life.reason),
        life.linked,
        life.wanted,
        life.banned_until,
        record.since,
        *((account.jid, account.lid, account.push_name, account.linked_at) if account else (None,) * 4),
        record.created_at,
        record.updated_at,
    )


def session_record(row: Row) -> SessionRecord:
    """The record in a row of :data:`SESSION_COLUMNS`."""
    (tenant, session, version, generation, labels, region, device_name, state, reason, linked, wanted, *rest) = row
    (banned_until, since, jid, lid, push_name, linked_at, created_at, updated_at) = rest
    return SessionRecord(
        key=SessionKey(TenantId(tenant), SessionId(session)),
        labels=json.loads(labels),
        default_region=region,
        device_name=device_name,
        lifecycle=Lifecycle(State(state), Reason(reason), bool(linked), bool(wanted), banned_until),
        since=since,
        account=None if jid is None else Account(jid, lid, push_name, linked_at),
        created_at=created_at,
        updated_at=updated_at,
        version=version,
        generation=generation,
    )


def send_row(send: SendRecord) -> Row:
    """Values for :data:`SEND_COLUMNS`."""
    return (
        send.send_id,
        send.key.tenant,
        send.key.session,
        send.idempotency_key,
        send.fingerprint,
        send.secret,
        send.chat,
        send.handed_at,
        send.message_id or None,
        send.acked_at,
        send.status,
    )


def send_record(row: Row) -> SendRecord:
    """The record in a row of :data:`SEND_COLUMNS`."""
    send_id, tenant, session, idempotency_key, fingerprint, secret, chat, handed_at, message_id, acked_at, status = row
    return SendRecord(
        send_id=send_id,
        key=SessionKey(TenantId(tenant), SessionId(session)),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        secret=secret,
        chat=chat,
        handed_at=handed_at,
        message_id=message_id or "",
        acked_at=acked_at,
        status=status,
    )
