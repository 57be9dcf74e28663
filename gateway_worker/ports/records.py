"""What is kept: session cards, sends, events. Frozen values that cross the ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway_worker.domain.ids import ORIGIN, Position, SessionKey
from gateway_worker.domain.lifecycle import Lifecycle


@dataclass(frozen=True, slots=True)
class Account:
    """The WhatsApp account a session is linked to.

    Attributes:
        jid: JID of this device, ``6281200000001:3@s.whatsapp.net``.
        lid: LID JID of the account without device, empty when not known.
        push_name: Display name, empty until told.
        linked_at: Unix seconds.
    """

    jid: str
    lid: str
    push_name: str
    linked_at: float


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session's card and where its life stands.

    Attributes:
        key: Tenant and id.
        labels: The client's own pairs.
        default_region: Region of local numbers, ISO 3166-1 alpha-2.
        device_name: Name under which the phone lists the device.
        lifecycle: State, reason, linked, wanted.
        since: Unix seconds of the last change of state.
        account: The linked account, None when there is none.
        created_at: Unix seconds.
        updated_at: Unix seconds of the last change of labels or settings.
        version: Counts every change of the record. A store ignores a record that is not newer than its own.
        generation: Counts the links; each link has an auth database of its own.
    """

    key: SessionKey
    labels: Mapping[str, str]
    default_region: str
    device_name: str
    lifecycle: Lifecycle
    since: float
    account: Account | None
    created_at: float
    updated_at: float
    version: int = 1
    generation: int = 0


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event that is not in the journal yet.

    Attributes:
        key: The session.
        kind: Field number of the event's kind in ``wagateway.worker.v1.Event``.
        time: Unix seconds.
        payload: Serialized ``wagateway.worker.v1.Event`` without sequence and cursor.
    """

    key: SessionKey
    kind: int
    time: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in the journal.

    Attributes:
        position: Place in the journal, over all sessions, from 1.
        sequence: Number within the session, from 1, without gaps.
        draft: The event.
    """

    position: Position
    sequence: int
    draft: EventDraft


@dataclass(frozen=True, slots=True)
class SendRecord:
    """A send that was handed to an engine, or is about to be.

    Attributes:
        send_id: Random id of this send, 32 hex digits.
        key: The session.
        idempotency_key: The client's key, None when it gave none.
        fingerprint: SHA-256 of the parsed request, to recognise a reused key.
        secret: The 32 random bytes that the client library stores with the message id before the wire.
        chat: JID it goes to.
        handed_at: Unix seconds.
        message_id: WhatsApp's id, empty while not known.
        acked_at: WhatsApp's time of it in Unix seconds, None until the server's ack.
        status: Number of ``MessageStatus``: PENDING until the ack, then as receipts tell.
    """

    send_id: str
    key: SessionKey
    idempotency_key: str | None
    fingerprint: bytes
    secret: bytes
    chat: str
    handed_at: float
    message_id: str = ""
    acked_at: float | None = None
    status: int = 1


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of the journal a reader wants.

    Attributes:
        tenant: Only this tenant's.
        sessions: Only these session ids; None: all of the tenant.
        kinds: Only these kinds; None: all.
    """

    tenant: str
    sessions: frozenset[str] | None = None
    kinds: frozenset[int] | None = None

    def accepts(self, event: EventDraft) -> bool:
        """Whether the reader wants this event."""
        return (
            event.key.tenant == self.tenant
            and (self.sessions is None or event.key.session in self.sessions)
            and (self.kinds is None or event.kind in self.kinds)
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """A piece of the journal.

    Attributes:
        events: Events that the filter accepts, in order.
        through: Everything up to and with this position was looked at.
    """

    events: list[StoredEvent] = field(default_factory=list)
    through: Position = ORIGIN


@dataclass(frozen=True, slots=True)
class JournalBounds:
    """Where the journal begins and ends.

    Attributes:
        oldest: A reader may start after this position or any later one; events at and before it are gone.
        head: Position of the newest event.
    """

    oldest: Position
    head: Position
