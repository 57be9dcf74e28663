"""What every event log tells its readers: pages, filters, bounds, consumers, pruning."""

from __future__ import annotations

import asyncio

import pytest

from gateway_worker.adapters.sqlite.journal import PRUNE_BATCH, SCAN_SPAN
from gateway_worker.domain.ids import ORIGIN, Position, SessionId, SessionKey, TenantId
from gateway_worker.ports.journal import Append, EraseSession, HandOver, MarkSpool, RecordMessage
from gateway_worker.ports.records import EventFilter, EventPage, JournalBounds
from tests.support.stores import DAY, KEY, NOW, OTHER, TENANT, Stores, draft, payloads, send

STRANGER = SessionKey(TenantId("acme"), SessionId("alpha"))
EVERYTHING = EventFilter(TENANT)


async def fill(stores: Stores) -> None:
    """Nine events: three of each session, of kinds 12, 13 and 14."""
    for kind in (12, 13, 14):
        name = str(kind).encode()
        await stores.journal.commit(
            [
                Append(draft(b"alpha " + name, kind=kind)),
                Append(draft(b"beta " + name, key=OTHER, kind=kind)),
                Append(draft(b"stranger " + name, key=STRANGER, kind=kind)),
            ]
        )


class TestRead:
    """Pages of events."""

    async def test_of_an_empty_journal(self, stores: Stores) -> None:
        """There is nothing, and nothing more was looked at than there is."""
        assert await stores.events.read(ORIGIN, EVERYTHING, 10) == EventPage([], ORIGIN)

    async def test_pages_follow_each_other(self, stores: Stores) -> None:
        """A full page ends with its last event; the last page reaches to the end of the journal."""
        await fill(stores)
        first = await stores.events.read(ORIGIN, EVERYTHING, 4)
        assert payloads(first.events) == [b"alpha 12", b"beta 12", b"alpha 13", b"beta 13"]
        assert first.through == 5
        second = await stores.events.read(first.through, EVERYTHING, 4)
        assert payloads(second.events) == [b"alpha 14", b"beta 14"]
        assert second.through == 9
        assert await stores.events.read(second.through, EVERYTHING, 4) == EventPage([], Position(9))

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            (EventFilter("default"), [1, 2, 4, 5, 7, 8]),
            (EventFilter("acme"), [3, 6, 9]),
            (EventFilter("nobody"), []),
            (EventFilter("default", frozenset({"alpha"})), [1, 4, 7]),
            (EventFilter("default", frozenset({"alpha", "beta", "gone"})), [1, 2, 4, 5, 7, 8]),
            (EventFilter("default", frozenset()), []),
            (EventFilter("default", kinds=frozenset({13})), [4, 5]),
            (EventFilter("default", kinds=frozenset({12, 14})), [1, 2, 7, 8]),
            (EventFilter("default", kinds=frozenset()), []),
            (EventFilter("acme", frozenset({"alpha"}), frozenset({14})), [9]),
            (EventFilter("default", frozenset({"alpha", "beta"}), frozenset({12, 13})), [1, 2, 4, 5]),
        ],
    )
    async def test_filters(self, stores: Stores, where: EventFilter, expected: list[int]) -> None:
        """Only what the filter accepts, whatever the size of the pages; what it leaves out was looked at."""
        await fill(stores)
        for page in (1, 2, 100):
            found = await stores.all_events(where, page)
            assert [event.position for event in found] == expected
            assert all(where.accepts(event.draft) for event in found)

    async def test_never_goes_back(self, stores: Stores) -> None:
        """A reader that is ahead of the journal stays where it is."""
        await fill(stores)
        assert await stores.events.read(Position(50), EVERYTHING, 10) == EventPage([], Position(50))

    async def test_gets_through_a_journal_longer_than_one_read_looks_at(self, stores: Stores) -> None:
        """A filter that accepts only the first and the last of many events finds both, in pages that make progress."""
        rare = frozenset({99})
        many = [Append(draft(b"x"))] * (SCAN_SPAN + 10)
        await stores.journal.commit([Append(draft(b"first", kind=99)), *many, Append(draft(b"last", kind=99))])
        for sessions in (None, frozenset({"alpha"}), frozenset({"alpha", "beta"})):
            found = await stores.all_events(EventFilter(TENANT, sessions, rare))
            assert payloads(found) == [b"first", b"last"]

    async def test_skips_nothing_while_others_write(self, stores: Stores) -> None:
        """Readers that follow concurrent writers see every event once and in order."""
        total = 600

        async def write(writer: int) -> None:
            for index in range(total // 20):
                await stores.journal.commit([Append(draft(b"%d/%d" % (writer, index)))])

        async def follow() -> list[int]:
            after, seen = ORIGIN, list[int]()
            while len(seen) < total:
                page = await stores.events.read(after, EVERYTHING, 7)
                seen += [event.position for event in page.events]
                after = page.through
                await asyncio.sleep(0)
            return seen

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(follow()) for _ in range(3)]
            for writer in range(20):
                tasks.create_task(write(writer))
        for reader in readers:
            assert reader.result() == list(range(1, total + 1))


class TestConsumers:
    """Named consumers and their places."""

    async def test_start_without_a_place(self, stores: Stores) -> None:
        """None is not the same as the beginning."""
        assert await stores.events.consumer_position(TENANT, "crm") is None
        assert await stores.events.acknowledge(TENANT, "crm", ORIGIN) == ORIGIN
        assert await stores.events.consumer_position(TENANT, "crm") == ORIGIN

    async def test_never_go_back(self, stores: Stores) -> None:
        """An older place is ignored, and the answer tells what is stored."""
        assert await stores.events.acknowledge(TENANT, "crm", Position(8)) == 8
        assert await stores.events.acknowledge(TENANT, "crm", Position(5)) == 8
        assert await stores.events.consumer_position(TENANT, "crm") == 8

    async def test_belong_to_a_tenant(self, stores: Stores) -> None:
        """Other tenants and other names have places of their own."""
        await stores.events.acknowledge(TENANT, "crm", Position(8))
        assert await stores.events.consumer_position(TenantId("acme"), "crm") is None
        assert await stores.events.consumer_position(TENANT, "bi") is None


class TestPrune:
    """Dropping what is old."""

    async def test_drops_the_beginning(self, stores: Stores) -> None:
        """Events from before the time go, later ones stay, and the bounds tell where the journal begins now."""
        await fill(stores)
        stores.clock.now = NOW + 10
        await stores.journal.commit([Append(draft(b"new"))])
        assert await stores.events.bounds() == JournalBounds(ORIGIN, Position(10))
        assert await stores.events.prune(NOW + 10) == 9
        assert await stores.events.bounds() == JournalBounds(Position(9), Position(10))
        assert payloads(await stores.all_events()) == [b"new"]
        assert await stores.events.prune(NOW + 10) == 0

    async def test_an_empty_journal_keeps_its_numbers(self, stores: Stores) -> None:
        """When everything is dropped, positions and sequences go on."""
        await fill(stores)
        assert await stores.events.prune(NOW + 1) == 9
        assert await stores.events.bounds() == JournalBounds(Position(9), Position(9))
        (event,) = await stores.journal.commit([Append(draft())])
        assert (event.position, event.sequence) == (10, 4)

    async def test_age_counts_from_entering_the_journal(self, stores: Stores) -> None:
        """A message that waited for weeks before it arrived is as new to readers as any other."""
        await stores.journal.commit([Append(draft(b"late", time=NOW - 30 * DAY))])
        assert await stores.events.prune(NOW) == 0
        assert payloads(await stores.all_events()) == [b"late"]

    async def test_never_drops_from_the_middle(self, stores: Stores) -> None:
        """When the clock was set back, what entered behind newer events waits for them."""
        stores.clock.now = NOW + 100
        await stores.journal.commit([Append(draft(b"newer"))])
        stores.clock.now = NOW
        await stores.journal.commit([Append(draft(b"older"))])
        assert await stores.events.prune(NOW + 50) == 0
        assert await stores.events.prune(NOW + 101) == 2

    async def test_drops_more_than_one_batch(self, stores: Stores) -> None:
        """A large journal is dropped completely."""
        count = 2 * PRUNE_BATCH + 1
        await stores.journal.commit([Append(draft())] * count)
        assert await stores.events.prune(NOW + 1) == count
        assert await stores.events.bounds() == JournalBounds(Position(count), Position(count))

    async def test_drops_messages_with_the_events(self, stores: Stores) -> None:
        """Messages are kept as long as events; a younger one is still known as a duplicate afterwards."""
        old, young = (
            RecordMessage(KEY, "c", "s", name, from_me=False, raw=b"", event=draft(time=time))
            for name, time in (("M1", NOW - 1), ("M2", NOW + 1))
        )
        assert len(await stores.journal.commit([old, young])) == 2
        await stores.events.prune(NOW)
        assert len(await stores.journal.commit([old])) == 1
        assert await stores.journal.commit([young]) == []

    async def test_drops_sends_after_seven_days(self, stores: Stores) -> None:
        """Sends of seven days go, whatever became of them; younger ones stay."""
        old = [HandOver(send(f"{index:032x}", handed_at=NOW)) for index in range(PRUNE_BATCH + 1)]
        await stores.journal.commit([*old, HandOver(send("b" * 32, handed_at=NOW + 1))])
        stores.clock.now = NOW + 7 * DAY
        await stores.events.prune(NOW)
        assert [record.send_id for record in await stores.outbox.unsettled()] == ["b" * 32]

    async def test_passes_over_what_was_erased(self, stores: Stores) -> None:
        """Holes that an erased session left are no obstacle."""
        await fill(stores)
        await stores.journal.commit([EraseSession(KEY)])
        assert await stores.events.prune(NOW + 1) == 6
        assert await stores.events.bounds() == JournalBounds(Position(9), Position(9))


class TestSpools:
    """How far engines' spools are in the journal."""

    async def test_an_unknown_spool_begins_at_zero(self, stores: Stores) -> None:
        """Nothing of it is there."""
        assert await stores.events.spool_position("spool") == 0

    async def test_a_forgotten_spool_begins_again(self, stores: Stores) -> None:
        """Forgetting one leaves the others."""
        await stores.journal.commit([MarkSpool("one", 5), MarkSpool("two", 6)])
        await stores.events.forget_spool("one")
        await stores.events.forget_spool("never seen")
        assert await stores.events.spool_position("one") == 0
        assert await stores.events.spool_position("two") == 6
