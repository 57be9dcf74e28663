"""The stores behind the ports, opened one way whatever the adapter, and values to put into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway_worker.adapters.memory.store import MemoryStore
from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.journal import SqliteJournal
from gateway_worker.adapters.sqlite.outbox import SqliteOutbox
from gateway_worker.adapters.sqlite.sessions import SqliteSessionStore
from gateway_worker.domain.ids import ORIGIN, Position, SessionId, SessionKey, TenantId
from gateway_worker.domain.lifecycle import Lifecycle
from gateway_worker.ports.journal import EventLog, Journal, Outbox, SessionStore
from gateway_worker.ports.records import EventDraft, EventFilter, SendRecord, SessionRecord, StoredEvent

NOW = 1_790_000_000.0
DAY = 86400.0
TENANT = TenantId("default")
KEY = SessionKey(TENANT, SessionId("alpha"))
OTHER = SessionKey(TENANT, SessionId("beta"))
ADAPTERS = ("sqlite", "memory")


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def time(self) -> float:
        """Unix seconds."""
        return self.now


@dataclass(frozen=True, slots=True)
class Stores:
    """One adapter's stores. That each is what its port asks for is checked by the types here."""

    journal: Journal
    events: EventLog
    sessions: SessionStore
    outbox: Outbox
    clock: ManualClock

    async def all_events(self, where: EventFilter | None = None, page: int = 100) -> list[StoredEvent]:
        """Everything in the journal that the filter accepts, by default of the tenant, read in pages."""
        where = where or EventFilter(TENANT)
        head = (await self.events.bounds()).head
        events: list[StoredEvent] = []
        after: Position = ORIGIN
        while after < head:
            found = await self.events.read(after, where, page)
            assert found.through > after, "a read makes progress"
            events += found.events
            after = found.through
        return events


@asynccontextmanager
async def open_stores(adapter: str, folder: Path) -> AsyncIterator[Stores]:
    """The stores of one of :data:`ADAPTERS`, for the time of the context."""
    clock = ManualClock()
    if adapter == "memory":
        store = MemoryStore(clock)
        yield Stores(store, store, store, store, clock)
        return
    async with SqliteDatabase(folder / "gateway.db") as database:
        journal = SqliteJournal(database, clock)
        yield Stores(journal, journal, SqliteSessionStore(database), SqliteOutbox(database, clock), clock)


def draft(payload: bytes = b"event", *, key: SessionKey = KEY, kind: int = 12, time: float = NOW) -> EventDraft:
    """An event."""
    return EventDraft(key, kind, time, payload)


def card(key: SessionKey = KEY, *, version: int = 1, device_name: str = "Gateway") -> SessionRecord:
    """A session that was just created."""
    return SessionRecord(
        key=key,
        labels={"team": "support"},
        default_region="ID",
        device_name=device_name,
        lifecycle=Lifecycle(),
        since=NOW,
        account=None,
        created_at=NOW,
        updated_at=NOW,
        version=version,
    )


def send(
    send_id: str = "a" * 32, *, key: SessionKey = KEY, idempotency_key: str | None = None, handed_at: float = NOW
) -> SendRecord:
    """A send that an engine is about to get."""
    return SendRecord(
        send_id=send_id,
        key=key,
        idempotency_key=idempotency_key,
        fingerprint=b"f" * 32,
        secret=b"s" * 32,
        chat="6281200000002@s.whatsapp.net",
        handed_at=handed_at,
    )


def payloads(events: list[StoredEvent]) -> list[bytes]:
    """What the events say."""
    return [event.draft.payload for event in events]
