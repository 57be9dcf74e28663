"""Everything a journal holds, as plain Python values, and what each operation does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway_worker.domain.errors import IdempotencyKeyReusedError, SessionExistsError
from gateway_worker.domain.ids import ORIGIN, Position, SessionKey, TenantId
from gateway_worker.domain.sends import EARLY_RECEIPT_PERIOD, IDEMPOTENCY_PERIOD, MessageStatus, advances
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
from gateway_worker.ports.records import EventDraft, SendRecord, SessionRecord, StoredEvent


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and when it entered the journal, in Unix seconds."""

    event: StoredEvent
    recorded_at: float


@dataclass(frozen=True, slots=True)
class Send:
    """A send, and whether MarkUnknown named it."""

    record: SendRecord
    fate_unknown: bool = False


@dataclass(frozen=True, slots=True)
class EarlyReceipt:
    """A receipt that no send is known for yet."""

    event: EventDraft
    kept_at: float


@dataclass(slots=True)
class JournalState:
    """The whole of it. Values are frozen, so a copy of the containers is a snapshot.

    Attributes:
        messages: When each (session, chat, sender, message id) that arrived was sent, in Unix seconds.
        sends: By send id, in the order of insertion.
        early_receipts: By session, message id and status.
        appended: Events of the last commit, also those that it erased again.
    """

    sessions: dict[SessionKey, SessionRecord] = field(default_factory=dict)
    messages: dict[tuple[SessionKey, str, str, str], float] = field(default_factory=dict)
    sends: dict[str, Send] = field(default_factory=dict)
    early_receipts: dict[tuple[SessionKey, str, int], EarlyReceipt] = field(default_factory=dict)
    events: list[Entry] = field(default_factory=list)
    sequences: dict[SessionKey, int] = field(default_factory=dict)
    consumers: dict[tuple[TenantId, str], Position] = field(default_factory=dict)
    spools: dict[str, int] = field(default_factory=dict)
    head: Position = ORIGIN
    oldest: Position = ORIGIN
    appended: list[StoredEvent] = field(default_factory=list)

    def copy(self) -> JournalState:
        """A snapshot."""
        return JournalState(
            dict(self.sessions),
            dict(self.messages),
            dict(self.sends),
            dict(self.early_receipts),
            list(self.events),
            dict(self.sequences),
            dict(self.consumers),
            dict(self.spools),
            self.head,
            self.oldest,
        )

    def apply(self, operations: Sequence[Operation], now: float) -> list[StoredEvent]:
        """Apply operations in order at a time in Unix seconds; return the events appended.

        Raises:
            SessionExistsError: By CreateSession. The state is half changed then: work on a copy.
            IdempotencyKeyReusedError: By HandOver. The same.
        """
        self.appended = []
        for operation in operations:
            self._apply(operation, now)
        return self.appended

    def _apply(self, operation: Operation, now: float) -> None:  # noqa: C901, PLR0912 - one row an operation
        match operation:
            case CreateSession(record):
                if record.key in self.sessions:
                    raise SessionExistsError
                self.sessions[record.key] = record
            case SaveSession(record, event):
                stored = self.sessions.get(record.key)
                if stored is not None and stored.version < record.version:
                    self.sessions[record.key] = record
                    if event is not None:
                        self._append(event, now)
            case EraseSession(key):
                self._erase(key)
            case Append(event):
                self._append(event, now)
            case RecordMessage():
                name = (operation.key, operation.chat, operation.sender, operation.message_id)
                if name not in self.messages:
                    self.messages[name] = operation.event.time
                    self._append(operation.event, now)
            case HandOver(send):
                self._hand_over(send, now)
            case Acknowledge():
                self._acknowledge(operation, now)
            case Release(send_id):
                if send_id in self.sends and self.sends[send_id].record.acked_at is None:
                    del self.sends[send_id]
            case MarkUnknown():
                self._mark_unknown(operation, now)
            case AdvanceStatus():
                self._advance_status(operation, now)
            case MarkSpool(spool_id, position):
                self.spools[spool_id] = max(position, self.spools.get(spool_id, 0))

    def _append(self, event: EventDraft, now: float) -> None:
        self.head = Position(self.head + 1)
        sequence = self.sequences[event.key] = self.sequences.get(event.key, 0) + 1
        stored = StoredEvent(self.head, sequence, event)
        self.events.append(Entry(stored, now))
        self.appended.append(stored)

    def _erase(self, key: SessionKey) -> None:
        self.sessions.pop(key, None)
        self.messages = {name: raw for name, raw in self.messages.items() if name[0] != key}
        self.sends = {send_id: send for send_id, send in self.sends.items() if send.record.key != key}
        self.early_receipts = {name: receipt for name, receipt in self.early_receipts.items() if name[0] != key}
        self.events = [entry for entry in self.events if entry.event.draft.key != key]

    def _hand_over(self, send: SendRecord, now: float) -> None:
        if send.send_id in self.sends:
            raise ValueError("the send id is taken")
        holder = self.holder_of(send.key, send.idempotency_key)
        if holder is not None:
            if holder.handed_at > now - IDEMPOTENCY_PERIOD:
                raise IdempotencyKeyReusedError
            del self.sends[holder.send_id]
        self.sends[send.send_id] = Send(send)

    def holder_of(self, key: SessionKey, idempotency_key: str | None) -> SendRecord | None:
        """The send that holds an idempotency key, however old."""
        if idempotency_key is None:
            return None
        for send in self.sends.values():
            if (send.record.key, send.record.idempotency_key) == (key, idempotency_key):
                return send.record
        return None

    def _acknowledge(self, operation: Acknowledge, now: float) -> None:
        send = self.sends.get(operation.send_id)
        if send is None or send.record.status != MessageStatus.PENDING:
            return
        record = replace(
            send.record,
            message_id=operation.message_id,
            acked_at=operation.acked_at,
            status=int(MessageStatus.SERVER_ACK),
        )
        self.sends[operation.send_id] = replace(send, record=record)
        self._append(operation.event, now)
        self._apply_early_receipts(operation.send_id, now)

    def _mark_unknown(self, operation: MarkUnknown, now: float) -> None:
        send = self.sends.get(operation.send_id)
        if send is None or send.record.acked_at is not None:
            return
        message_id = operation.message_id or send.record.message_id
        self.sends[operation.send_id] = Send(replace(send.record, message_id=message_id), fate_unknown=True)
        if operation.message_id:
            self._apply_early_receipts(operation.send_id, now)

    def _advance_status(self, operation: AdvanceStatus, now: float) -> None:
        for send_id, send in reversed(self.sends.items()):
            if send.record.key == operation.key and send.record.message_id == operation.message_id:
                self._advance(send_id, operation.status, operation.event, now)
                return
        self.forget_early_receipts(now)
        name = (operation.key, operation.message_id, operation.status)
        self.early_receipts.setdefault(name, EarlyReceipt(operation.event, now))

    def _advance(self, send_id: str, status: int, event: EventDraft, now: float) -> None:
        send = self.sends[send_id]
        if not advances(send.record.status, status):
            return
        acked_at = send.record.acked_at
        if acked_at is None and status != MessageStatus.FAILED:
            acked_at = event.time
        self.sends[send_id] = replace(send, record=replace(send.record, status=status, acked_at=acked_at))
        self._append(event, now)

    def _apply_early_receipts(self, send_id: str, now: float) -> None:
        self.forget_early_receipts(now)
        record = self.sends[send_id].record
        names = sorted(name for name in self.early_receipts if name[:2] == (record.key, record.message_id))
        for name in names:
            receipt = self.early_receipts.pop(name)
            self._advance(send_id, name[2], receipt.event, now)

    def forget_early_receipts(self, now: float) -> None:
        """Drop the receipts that waited too long for their send."""
        self.early_receipts = {
            name: receipt
            for name, receipt in self.early_receipts.items()
            if receipt.kept_at > now - EARLY_RECEIPT_PERIOD
        }
