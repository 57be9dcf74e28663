"""Applying operations: one small function a type, found by type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway_worker.adapters.sqlite import send_operations
from gateway_worker.adapters.sqlite.rows import SESSION_COLUMNS, session_row
from gateway_worker.adapters.sqlite.transaction import JournalTransaction
from gateway_worker.domain.errors import SessionExistsError
from gateway_worker.ports.journal import (
    Acknowledge,
    AdvanceStatus,
    Append,
    CreateSession,
    EraseSession,
    HandOver,
    MarkSpool,
    MarkUnknown,
    Operation,
    RecordMessage,
    Release,
    SaveSession,
)

_CREATE_SESSION: Final = f"""
INSERT INTO session ({SESSION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - the only part put in is this package's own list of columns
_SAVE_SESSION: Final = """
UPDATE session
SET version = ?3, generation = ?4, labels = ?5, default_region = ?6, device_name = ?7, state = ?8, reason = ?9,
    linked = ?10, wanted = ?11, banned_until = ?12, since = ?13, account_jid = ?14, account_lid = ?15,
    account_push_name = ?16, account_linked_at = ?17, created_at = ?18, updated_at = ?19
WHERE tenant = ?1 AND session = ?2 AND version < ?3
"""
_ERASE_SESSION: Final = (
    "DELETE FROM session WHERE tenant = ? AND session = ?",
    "DELETE FROM message WHERE tenant = ? AND session = ?",
    "DELETE FROM send WHERE tenant = ? AND session = ?",
    "DELETE FROM early_receipt WHERE tenant = ? AND session = ?",
    "DELETE FROM event WHERE tenant = ? AND session = ?",
)
_RECORD_MESSAGE: Final = """
INSERT INTO message (tenant, session, chat, sender, message_id, from_me, time, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
_MARK_SPOOL: Final = """
INSERT INTO spool (spool_id, position) VALUES (?, ?)
ON CONFLICT (spool_id) DO UPDATE SET position = max(position, excluded.position)
"""


def apply(transaction: JournalTransaction, operations: Sequence[Operation]) -> None:
    """Apply operations in order.

    Raises:
        SessionExistsError: By CreateSession; the transaction must be undone.
        IdempotencyKeyReusedError: By HandOver; the same.
    """
    for operation in operations:
        _FUNCTIONS[type(operation)](transaction, operation)


def _create_session(transaction: JournalTransaction, operation: CreateSession) -> None:
    transaction.execute(_CREATE_SESSION, session_row(operation.record))
    if not transaction.changed():
        raise SessionExistsError


def _save_session(transaction: JournalTransaction, operation: SaveSession) -> None:
    transaction.execute(_SAVE_SESSION, session_row(operation.record))
    if operation.event is not None and transaction.changed():
        transaction.append(operation.event)


def _erase_session(transaction: JournalTransaction, operation: EraseSession) -> None:
    for statement in _ERASE_SESSION:
        transaction.execute(statement, (operation.key.tenant, operation.key.session))


def _append(transaction: JournalTransaction, operation: Append) -> None:
    transaction.append(operation.event)


def _record_message(transaction: JournalTransaction, operation: RecordMessage) -> None:
    key = operation.key
    message = (operation.chat, operation.sender, operation.message_id, operation.from_me)
    transaction.execute(_RECORD_MESSAGE, (key.tenant, key.session, *message, operation.event.time, operation.raw))
    if transaction.changed():
        transaction.append(operation.event)


def _mark_spool(transaction: JournalTransaction, operation: MarkSpool) -> None:
    transaction.execute(_MARK_SPOOL, (operation.spool_id, operation.position))


_FUNCTIONS: Final[Mapping[type[Operation], Callable[[JournalTransaction, Any], None]]] = {
    CreateSession: _create_session,
    SaveSession: _save_session,
    EraseSession: _erase_session,
    Append: _append,
    RecordMessage: _record_message,
    HandOver: send_operations.hand_over,
    Acknowledge: send_operations.acknowledge,
    Release: send_operations.release,
    MarkUnknown: send_operations.mark_unknown,
    AdvanceStatus: send_operations.advance_status,
    MarkSpool: _mark_spool,
}
