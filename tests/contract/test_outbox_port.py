"""What every outbox tells about sends; what becomes of them is the journal's suite."""

from __future__ import annotations

from dataclasses import replace

from gateway_worker.ports.journal import Acknowledge, HandOver, MarkUnknown
from tests.support.stores import DAY, KEY, NOW, OTHER, Stores, draft, send


async def test_finds_nothing_at_first(stores: Stores) -> None:
    """Neither a key nor an open send."""
    assert await stores.outbox.find(KEY, "order-1") is None
    assert await stores.outbox.unsettled() == []


async def test_gives_back_every_field(stores: Stores) -> None:
    """A send comes back as it was put in."""
    record = replace(
        send(idempotency_key="Bestellung Nr. 1 ✓"),
        fingerprint=bytes(range(32)),
        secret=bytes(range(224, 256)),
        handed_at=NOW + 0.001,
    )
    await stores.journal.commit([HandOver(record)])
    assert await stores.outbox.find(KEY, "Bestellung Nr. 1 ✓") == record
    assert await stores.outbox.unsettled() == [record]


async def test_finds_by_session_and_key(stores: Stores) -> None:
    """Other keys and other sessions are other sends."""
    await stores.journal.commit([HandOver(send(idempotency_key="order-1")), HandOver(send("b" * 32))])
    assert await stores.outbox.find(OTHER, "order-1") is None
    assert await stores.outbox.find(KEY, "order-2") is None
    assert await stores.outbox.find(KEY, "") is None


async def test_forgets_a_key_after_seven_days(stores: Stores) -> None:
    """At seven days a key is not found any more, with or without pruning."""
    await stores.journal.commit([HandOver(send(idempotency_key="order-1"))])
    stores.clock.now = NOW + 7 * DAY - 1
    assert await stores.outbox.find(KEY, "order-1") is not None
    stores.clock.now = NOW + 7 * DAY
    assert await stores.outbox.find(KEY, "order-1") is None


async def test_unsettled_sends_come_oldest_first(stores: Stores) -> None:
    """Those that were acknowledged or marked are left out; of the same age, the first handed over comes first."""
    ages = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 1.0, "e": 0.0, "f": 0.0}
    await stores.journal.commit(
        [HandOver(send(name * 32, handed_at=NOW - DAY * 30 + age)) for name, age in ages.items()]
    )
    await stores.journal.commit([Acknowledge("e" * 32, "M", NOW, draft()), MarkUnknown("f" * 32)])
    assert [record.send_id[0] for record in await stores.outbox.unsettled()] == ["b", "d", "c", "a"]
