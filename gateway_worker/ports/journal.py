"""The journal: everything durable that happens, written in transactions and read in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from gateway_worker.domain.ids import Position, SessionKey, TenantId
from gateway_worker.ports.records import (
    EventDraft,
    EventFilter,
    EventPage,
    JournalBounds,
    SendRecord,
    SessionRecord,
    StoredEvent,
)


# Operations: what a transaction is made of. They are applied in order.
@dataclass(frozen=True, slots=True)
class CreateSession:
    """Insert a card. The commit raises SessionExistsError when the key is taken."""

    record: SessionRecord


@dataclass(frozen=True, slots=True)
class SaveSession:
    """Update a card and append the event that tells of it.

    Neither happens when the stored version is as new or newer, or the card is gone: so a save that comes late, after a
    newer one, tells nobody of a state that is past.
    """

    record: SessionRecord
    event: EventDraft | None = None


@dataclass(frozen=True, slots=True)
class EraseSession:
    """Erase a session's card, messages, sends and events. Its sequence goes on if the id is used again."""

    key: SessionKey


@dataclass(frozen=True, slots=True)
class Append:
    """Append an event."""

    event: EventDraft


@dataclass(frozen=True, slots=True)
class RecordMessage:
    """Keep a message that arrived, and append its event; both are left out when (chat, sender, id) is known.

    Attributes:
        chat: JID of the chat.
        sender: Stable id of the sender.
        message_id: Message id.
        from_me: Whether the account itself sent it, from another device.
        raw: WhatsApp's serialized content.
        event: The event.
    """

    key: SessionKey
    chat: str
    sender: str
    message_id: str
    from_me: bool
    raw: bytes
    event: EventDraft


@dataclass(frozen=True, slots=True)
class HandOver:
    """Keep a send before an engine gets it. Raises IdempotencyKeyReusedError when its key is taken."""

    send: SendRecord


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """WhatsApp acknowledged a send: keep its id and append the event, then what receipts told too early.

    A receipt can overtake the engine's answer; see AdvanceStatus.
    """

    send_id: str
    message_id: str
    acked_at: float
    event: EventDraft


@dataclass(frozen=True, slots=True)
class Release:
    """A send did not happen: forget it, its idempotency key is free again."""

    send_id: str


@dataclass(frozen=True, slots=True)
class MarkUnknown:
    """The fate of a send is unknown; its id may be known from the session's own database."""

    send_id: str
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class AdvanceStatus:
    """A receipt: a message of the account got to ``status`` (a MessageStatus number).

    Appends the event when the status is higher than the stored one. A send whose fate was unknown is thereby settled.
    For an id that is not known (yet) the event is kept aside until an Acknowledge or a MarkUnknown names it, a day at
    most.
    """

    key: SessionKey
    message_id: str
    status: int
    event: EventDraft


@dataclass(frozen=True, slots=True)
class MarkSpool:
    """Everything up to and with ``position`` of an engine's spool is in this transaction or an earlier one."""

    spool_id: str
    position: int


Operation: TypeAlias = (
    CreateSession
    | SaveSession
    | EraseSession
    | Append
    | RecordMessage
    | HandOver
    | Acknowledge
    | Release
    | MarkUnknown
    | AdvanceStatus
    | MarkSpool
)


class Journal(Protocol):
    """Writes. One transaction a commit, all or nothing, on disk when it returns."""

    async def commit(self, operations: Sequence[Operation]) -> list[StoredEvent]:
        """Apply ``operations`` in order and return the events that were appended, in order.

        Commits are applied in the order of the calls. Cancelling the call does not undo it.

        Raises:
            SessionExistsError: By CreateSession. Nothing of this commit was applied.
            IdempotencyKeyReusedError: By HandOver. Nothing of this commit was applied.
            StoreUnavailableError: The database cannot be written now. Nothing was applied.
        """
        ...

    def subscribe(self, listener: Callable[[Sequence[StoredEvent]], None]) -> None:
        """Call ``listener`` on the event loop with every appended event, in order of position, after it is on disk."""
        ...


class EventLog(Protocol):
    """Reads of the journal, by position."""

    async def read(self, after: Position, where: EventFilter, limit: int) -> EventPage:
        """Return up to ``limit`` accepted events after a position, and how far was looked."""
        ...

    async def bounds(self) -> JournalBounds:
        """Where the journal begins and ends."""
        ...

    async def consumer_position(self, tenant: TenantId, consumer: str) -> Position | None:
        """Last place that a named consumer acknowledged; None for one that never did."""
        ...

    async def acknowledge(self, tenant: TenantId, consumer: str, position: Position) -> Position:
        """Store how far a consumer got, never going back; return what is stored now."""
        ...

    async def spool_position(self, spool_id: str) -> int:
        """Last position of an engine's spool that is in the journal; 0 for a spool never seen."""
        ...

    async def forget_spool(self, spool_id: str) -> None:
        """Forget a spool that is gone from disk."""
        ...

    async def prune(self, older_than: float) -> int:
        """Drop events and messages older than a Unix time, sends older than 7 days; return how many events went."""
        ...


class SessionStore(Protocol):
    """Reads of the cards."""

    async def sessions(self) -> list[SessionRecord]:
        """All cards of all tenants, by key."""
        ...


class Outbox(Protocol):
    """Reads of the sends."""

    async def find(self, key: SessionKey, idempotency_key: str) -> SendRecord | None:
        """The send with this key within the last 7 days."""
        ...

    async def unsettled(self) -> list[SendRecord]:
        """Sends that were handed over and neither acknowledged nor marked as unknown, oldest first."""
        ...
