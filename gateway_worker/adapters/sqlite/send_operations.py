"""The operations that concern sends; see :mod:`gateway_worker.ports.journal` for what each means."""

from __future__ import annotations

from typing import Final

from gateway_worker.adapters.sqlite.rows import SEND_COLUMNS, Row, send_row
from gateway_worker.adapters.sqlite.transaction import JournalTransaction
from gateway_worker.domain.errors import IdempotencyKeyReusedError
from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.sends import EARLY_RECEIPT_PERIOD, IDEMPOTENCY_PERIOD, MessageStatus, advances
from gateway_worker.ports.journal import Acknowledge, AdvanceStatus, HandOver, MarkUnknown, Release
from gateway_worker.ports.records import EventDraft

_HAND_OVER: Final = f"""
INSERT INTO send ({SEND_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, session, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
"""  # noqa: S608 - the only part put in is this package's own list of columns
_FORGET_EXPIRED_KEY: Final = """
DELETE FROM send WHERE tenant = ? AND session = ? AND idempotency_key = ? AND handed_at <= ?
"""
_ACKNOWLEDGE: Final = f"""
UPDATE send SET message_id = ?, acked_at = ?, status = {MessageStatus.SERVER_ACK:d}
WHERE send_id = ? AND status = {MessageStatus.PENDING:d}
RETURNING row, tenant, session
"""  # noqa: S608 - numbers of an enumeration
_RELEASE: Final = "DELETE FROM send WHERE send_id = ? AND acked_at IS NULL"
_MARK_UNKNOWN: Final = """
UPDATE send SET fate_unknown = 1, message_id = ifnull(?, message_id)
WHERE send_id = ? AND acked_at IS NULL
RETURNING row, tenant, session, status
"""
_STATUS: Final = """
SELECT row, status FROM send WHERE tenant = ? AND session = ? AND message_id = ? ORDER BY row DESC LIMIT 1
"""
_ADVANCE: Final = "UPDATE send SET status = ?, acked_at = ifnull(acked_at, ?) WHERE row = ?"
_KEEP_ASIDE: Final = """
INSERT INTO early_receipt (tenant, session, message_id, status, kind, time, payload, kept_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_FORGET_ASIDE: Final = "DELETE FROM early_receipt WHERE kept_at <= ?"
_EARLY: Final = """
SELECT status, kind, time, payload FROM early_receipt
WHERE tenant = ? AND session = ? AND message_id = ? AND kept_at > ?
ORDER BY status
"""
_FORGET_EARLY: Final = "DELETE FROM early_receipt WHERE tenant = ? AND session = ? AND message_id = ?"


def hand_over(transaction: JournalTransaction, operation: HandOver) -> None:
    """Insert the send; a key that an expired send holds is taken over."""
    send = operation.send
    row = send_row(send)
    transaction.execute(_HAND_OVER, row)
    if transaction.changed():
        return
    expiry = transaction.now - IDEMPOTENCY_PERIOD
    transaction.execute(_FORGET_EXPIRED_KEY, (send.key.tenant, send.key.session, send.idempotency_key, expiry))
    if not transaction.changed():
        raise IdempotencyKeyReusedError
    transaction.execute(_HAND_OVER, row)


def acknowledge(transaction: JournalTransaction, operation: Acknowledge) -> None:
    """Settle a send that is pending. An answer that comes twice, or after a receipt, changes nothing."""
    found = transaction.execute(_ACKNOWLEDGE, (operation.message_id, operation.acked_at, operation.send_id)).get
    if found is None:
        return
    row, tenant, session = found
    transaction.append(operation.event)
    key = SessionKey(tenant, session)
    _apply_early_receipts(transaction, row, key, operation.message_id, MessageStatus.SERVER_ACK)


def release(transaction: JournalTransaction, operation: Release) -> None:
    """Delete the send unless WhatsApp is known to have it."""
    transaction.execute(_RELEASE, (operation.send_id,))


def mark_unknown(transaction: JournalTransaction, operation: MarkUnknown) -> None:
    """Mark the send; if its id is known now, a receipt that came before may settle it at once."""
    found = transaction.execute(_MARK_UNKNOWN, (operation.message_id or None, operation.send_id)).get
    if found is None or not operation.message_id:
        return
    row, tenant, session, status = found
    _apply_early_receipts(transaction, row, SessionKey(tenant, session), operation.message_id, status)


def advance_status(transaction: JournalTransaction, operation: AdvanceStatus) -> None:
    """Move the status up, or keep the receipt until its send is known."""
    key = operation.key
    found = transaction.execute(_STATUS, (key.tenant, key.session, operation.message_id)).get
    if found is not None:
        row, status = found
        _advance(transaction, row, status, operation.status, operation.event)
        return
    event = operation.event
    transaction.execute(_FORGET_ASIDE, (transaction.now - EARLY_RECEIPT_PERIOD,))
    transaction.execute(
        _KEEP_ASIDE,
        (
            key.tenant,
            key.session,
            operation.message_id,
            operation.status,
            event.kind,
            event.time,
            event.payload,
            transaction.now,
        ),
    )


def _advance(transaction: JournalTransaction, row: int, current: int, following: int, event: EventDraft) -> int:
    """Apply one receipt and return the status after it.

    A receipt proves that the server has the message: where its ack never came, the receipt's time stands for it.
    """
    if not advances(current, following):
        return current
    acked_at = None if following == MessageStatus.FAILED else event.time
    transaction.execute(_ADVANCE, (following, acked_at, row))
    transaction.append(event)
    return following


def _apply_early_receipts(
    transaction: JournalTransaction, row: int, key: SessionKey, message_id: str, status: int
) -> None:
    """Apply the receipts that overtook the engine's answer, lowest status first."""
    name = (key.tenant, key.session, message_id)
    early: list[Row] = transaction.execute(_EARLY, (*name, transaction.now - EARLY_RECEIPT_PERIOD)).fetchall()
    if not early:
        return
    transaction.execute(_FORGET_EARLY, name)
    for following, kind, time, payload in early:
        status = _advance(transaction, row, status, following, EventDraft(key, kind, time, payload))
