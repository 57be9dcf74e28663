"""What every journal does with commits: order, atomicity, listeners, sessions, messages and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway_worker.domain.errors import IdempotencyKeyReusedError, SessionExistsError
from gateway_worker.domain.sends import MessageStatus
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
from gateway_worker.ports.records import EventDraft, SendRecord, StoredEvent
from tests.support.stores import DAY, KEY, NOW, OTHER, Stores, card, draft, payloads, send

SEND_ID = "a" * 32
MESSAGE_ID = "3EB0AAAAAAAAAAAAAAAA"


def message(
    message_id: str = "M1", *, sender: str = "1@lid", chat: str = "1@lid", text: bytes = b"hi"
) -> RecordMessage:
    """A message that arrived in KEY."""
    return RecordMessage(KEY, chat, sender, message_id, from_me=False, raw=text, event=draft(text))


def acknowledge(payload: bytes = b"ack") -> Acknowledge:
    """The server's ack for the default send."""
    return Acknowledge(SEND_ID, MESSAGE_ID, NOW + 1, draft(payload, kind=13))


def receipt(status: int, *, time: float = NOW + 2) -> AdvanceStatus:
    """A receipt for the default send's message id."""
    return AdvanceStatus(KEY, MESSAGE_ID, status, draft(f"status {status}".encode(), kind=13, time=time))


async def stored_send(stores: Stores) -> SendRecord | None:
    """The default send as the outbox finds it."""
    return await stores.outbox.find(KEY, "order-1")


async def hand_over(stores: Stores) -> None:
    """Keep the default send."""
    await stores.journal.commit([HandOver(send(idempotency_key="order-1"))])


class TestCommits:
    """Transactions, their order and who hears of them."""

    async def test_returns_the_events_with_their_numbers(self, stores: Stores) -> None:
        """Positions count over all sessions, sequences within each, both from 1 and without gaps."""
        first = await stores.journal.commit([Append(draft(b"a")), Append(draft(b"b", key=OTHER))])
        second = await stores.journal.commit([Append(draft(b"c"))])
        numbers = [(event.position, event.draft.key, event.sequence) for event in first + second]
        assert numbers == [(1, KEY, 1), (2, OTHER, 1), (3, KEY, 2)]
        assert await stores.all_events() == first + second

    async def test_returns_nothing_for_a_commit_without_events(self, stores: Stores) -> None:
        """Neither an empty commit nor one that only changes state appends anything."""
        assert await stores.journal.commit([]) == []
        assert await stores.journal.commit([CreateSession(card())]) == []

    async def test_gives_back_what_was_put_in(self, stores: Stores) -> None:
        """Payload bytes, kind and time come back unchanged."""
        event = EventDraft(KEY, 14, 1_790_000_000.123456, bytes(range(256)))
        (stored,) = await stores.journal.commit([Append(event)])
        assert stored.draft == event
        assert (await stores.all_events())[0].draft == event

    async def test_is_all_or_nothing(self, stores: Stores) -> None:
        """What a failing commit did before it failed is taken back, numbers included."""
        await stores.journal.commit([CreateSession(card())])
        with pytest.raises(SessionExistsError):
            await stores.journal.commit(
                [
                    Append(draft(b"lost")),
                    MarkSpool("spool", 7),
                    HandOver(send(idempotency_key="order-1")),
                    CreateSession(card()),
                ]
            )
        assert await stores.events.spool_position("spool") == 0
        assert await stored_send(stores) is None
        (kept,) = await stores.journal.commit([Append(draft(b"kept"))])
        assert (kept.position, kept.sequence) == (1, 1)

    async def test_a_failing_commit_harms_no_neighbour(self, stores: Stores) -> None:
        """Of many commits at once, the wrong ones fail and the right ones are kept, in the order of the calls."""
        await stores.journal.commit([CreateSession(card())])

        def operations(index: int) -> list[Operation]:
            event = Append(draft(str(index).encode()))
            return [event, CreateSession(card())] if index % 3 == 0 else [event]

        results = await asyncio.gather(
            *(stores.journal.commit(operations(index)) for index in range(60)), return_exceptions=True
        )
        failed = [index for index, result in enumerate(results) if isinstance(result, SessionExistsError)]
        kept = [result[0] for result in results if isinstance(result, list)]
        assert failed == list(range(0, 60, 3))
        assert payloads(kept) == [str(index).encode() for index in range(60) if index % 3]
        assert [event.position for event in kept] == list(range(1, 41))
        assert await stores.all_events() == kept

    async def test_cancelling_the_call_does_not_undo_it(self, stores: Stores) -> None:
        """A commit whose caller went away is applied, and listeners hear of it."""
        heard: list[StoredEvent] = []
        stores.journal.subscribe(heard.extend)
        call = asyncio.create_task(stores.journal.commit([Append(draft(b"orphan"))]))
        await asyncio.sleep(0)  # the call has started
        call.cancel()
        (after,) = await stores.journal.commit([Append(draft(b"after"))])
        assert after.position == 2
        assert payloads(heard) == [b"orphan", b"after"]
        assert payloads(await stores.all_events()) == [b"orphan", b"after"]


class TestListeners:
    """Who is told of appended events."""

    async def test_hear_events_in_order_before_the_call_returns(self, stores: Stores) -> None:
        """Concurrent commits are told in the order of positions, each before its own call returns."""
        heard: list[int] = []

        def listen(events: Sequence[StoredEvent]) -> None:
            heard.extend(event.position for event in events)

        async def commit(index: int) -> bool:
            events = await stores.journal.commit([Append(draft(b"%d" % index)), Append(draft(b"more", key=OTHER))])
            return all(event.position in heard for event in events)

        stores.journal.subscribe(listen)
        assert all(await asyncio.gather(*(commit(index) for index in range(40))))
        assert heard == list(range(1, 81))

    async def test_can_read_what_they_are_told(self, stores: Stores) -> None:
        """When a listener hears of an event, readers find it."""
        reads: list[asyncio.Task[list[StoredEvent]]] = []

        def listen(_events: Sequence[StoredEvent]) -> None:
            reads.append(asyncio.create_task(stores.all_events()))

        stores.journal.subscribe(listen)
        await stores.journal.commit([Append(draft(b"a"))])
        assert payloads(await reads[0]) == [b"a"]

    async def test_that_fail_stop_nobody(self, stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
        """A listener's exception is logged; the commit stands and the next one is told."""
        heard: list[StoredEvent] = []

        def listen(events: Sequence[StoredEvent]) -> None:
            if not heard:
                heard.extend(events)
                raise RuntimeError("listener broke")
            heard.extend(events)

        stores.journal.subscribe(listen)
        await stores.journal.commit([Append(draft(b"a"))])
        await stores.journal.commit([Append(draft(b"b"))])
        assert payloads(heard) == [b"a", b"b"]
        assert "a listener failed" in caplog.text

    async def test_are_not_told_of_commits_without_events(self, stores: Stores) -> None:
        """Silence means that nothing was appended."""
        calls: list[Sequence[StoredEvent]] = []
        stores.journal.subscribe(calls.append)
        await stores.journal.commit([CreateSession(card())])
        assert calls == []


class TestSessions:
    """Cards."""

    async def test_a_taken_key_is_refused(self, stores: Stores) -> None:
        """A card with the key of another one raises, and the first stays as it was."""
        await stores.journal.commit([CreateSession(card())])
        with pytest.raises(SessionExistsError):
            await stores.journal.commit([CreateSession(card(device_name="Second"))])
        assert await stores.sessions.sessions() == [card()]

    async def test_only_a_newer_version_is_saved(self, stores: Stores) -> None:
        """A version that is as new or older is ignored, and so is its event."""
        await stores.journal.commit([CreateSession(card(version=3))])
        for version in (2, 3):
            late = SaveSession(card(version=version, device_name="Late"), draft(b"late"))
            assert await stores.journal.commit([late]) == []
        assert await stores.sessions.sessions() == [card(version=3)]
        (event,) = await stores.journal.commit([SaveSession(card(version=4, device_name="New"), draft(b"new"))])
        assert event.draft == draft(b"new")
        assert await stores.sessions.sessions() == [card(version=4, device_name="New")]

    async def test_a_card_that_is_gone_is_not_saved(self, stores: Stores) -> None:
        """Saving never brings an erased card back."""
        await stores.journal.commit([CreateSession(card()), EraseSession(KEY)])
        assert await stores.journal.commit([SaveSession(card(version=9), draft(b"late"))]) == []
        assert await stores.sessions.sessions() == []

    async def test_erasing_takes_everything_but_the_sequence(self, stores: Stores) -> None:
        """Events, messages, sends and early receipts of the session go, its neighbours' stay, its sequence goes on."""
        await stores.journal.commit(
            [
                CreateSession(card()),
                CreateSession(card(OTHER)),
                message(text=b"mine"),
                Append(draft(b"theirs", key=OTHER)),
                HandOver(send("b" * 32, key=OTHER, idempotency_key="order-1")),
                HandOver(send(idempotency_key="order-1")),
                receipt(MessageStatus.DELIVERED),
            ]
        )
        await stores.journal.commit([EraseSession(KEY), Append(draft(b"deleted"))])

        assert await stores.sessions.sessions() == [card(OTHER)]
        assert payloads(await stores.all_events()) == [b"theirs", b"deleted"]
        assert await stored_send(stores) is None
        assert [record.key for record in await stores.outbox.unsettled()] == [OTHER]
        deleted = (await stores.all_events())[-1]
        assert (deleted.position, deleted.sequence) == (3, 2)
        again = await stores.journal.commit(
            [
                message(text=b"again"),
                HandOver(send(idempotency_key="order-1")),
                acknowledge(),
            ]
        )
        assert payloads(again) == [b"again", b"ack"], "the message is new again and the early receipt is gone"


class TestMessages:
    """Messages that arrive."""

    async def test_a_message_that_comes_twice_is_one_event(self, stores: Stores) -> None:
        """The same chat, sender and id appends once, within one commit and over several."""
        first = await stores.journal.commit([message(), message(text=b"same id")])
        again = await stores.journal.commit([message()])
        assert payloads(first) == [b"hi"]
        assert again == []

    async def test_an_id_is_unique_only_with_chat_and_sender(self, stores: Stores) -> None:
        """Other senders and chats may use the same id, and so may other sessions."""
        elsewhere = RecordMessage(OTHER, "1@lid", "1@lid", "M1", from_me=True, raw=b"", event=draft(b"4", key=OTHER))
        events = await stores.journal.commit(
            [
                message(text=b"1"),
                message(sender="2@lid", text=b"2"),
                message(chat="2@lid", text=b"3"),
                elsewhere,
            ]
        )
        assert payloads(events) == [b"1", b"2", b"3", b"4"]


class TestIdempotency:
    """The key of a send."""

    async def test_a_taken_key_is_refused(self, stores: Stores) -> None:
        """A second send with the key of a first raises and leaves the first."""
        await hand_over(stores)
        with pytest.raises(IdempotencyKeyReusedError):
            await stores.journal.commit([HandOver(send("b" * 32, idempotency_key="order-1"))])
        assert await stored_send(stores) == send(idempotency_key="order-1")

    async def test_keys_belong_to_a_session(self, stores: Stores) -> None:
        """The same key in another session is another key."""
        await hand_over(stores)
        await stores.journal.commit([HandOver(send("b" * 32, key=OTHER, idempotency_key="order-1"))])
        found = await stores.outbox.find(OTHER, "order-1")
        assert found is not None
        assert found.send_id == "b" * 32

    async def test_sends_without_a_key_do_not_collide(self, stores: Stores) -> None:
        """No key is never taken."""
        await stores.journal.commit([HandOver(send("a" * 32)), HandOver(send("b" * 32))])
        assert len(await stores.outbox.unsettled()) == 2

    async def test_a_key_is_free_again_after_seven_days(self, stores: Stores) -> None:
        """The new send takes the place of the expired one; just before, it is refused."""
        await hand_over(stores)
        second = send("b" * 32, idempotency_key="order-1", handed_at=NOW + 7 * DAY)
        stores.clock.now = NOW + 7 * DAY - 1
        with pytest.raises(IdempotencyKeyReusedError):
            await stores.journal.commit([HandOver(second)])
        stores.clock.now = NOW + 7 * DAY
        await stores.journal.commit([HandOver(second)])
        assert await stored_send(stores) == second
        assert await stores.outbox.unsettled() == [second]

    async def test_a_release_frees_the_key(self, stores: Stores) -> None:
        """What did not happen is forgotten."""
        await hand_over(stores)
        await stores.journal.commit([Release(SEND_ID)])
        assert await stores.outbox.unsettled() == []
        await hand_over(stores)
        assert await stored_send(stores) == send(idempotency_key="order-1")

    async def test_a_send_that_the_server_has_is_never_released(self, stores: Stores) -> None:
        """A release that comes after the ack is void."""
        await hand_over(stores)
        await stores.journal.commit([acknowledge(), Release(SEND_ID)])
        found = await stored_send(stores)
        assert found is not None
        assert found.message_id == MESSAGE_ID


class TestStatus:
    """What becomes of a send."""

    async def test_the_ack_settles_a_send(self, stores: Stores) -> None:
        """Its id, time and status are kept, and its event is appended."""
        await hand_over(stores)
        assert payloads(await stores.journal.commit([acknowledge()])) == [b"ack"]
        assert await stored_send(stores) == replace(
            send(idempotency_key="order-1"), message_id=MESSAGE_ID, acked_at=NOW + 1, status=MessageStatus.SERVER_ACK
        )
        assert await stores.outbox.unsettled() == []

    async def test_the_ack_counts_once(self, stores: Stores) -> None:
        """A second ack, or one for a send that is gone, changes nothing and appends nothing."""
        await hand_over(stores)
        await stores.journal.commit([acknowledge()])
        assert await stores.journal.commit([acknowledge(b"again")]) == []
        assert await stores.journal.commit([Acknowledge("c" * 32, "X", NOW, draft(b"unknown"))]) == []

    @pytest.mark.parametrize(
        ("receipts", "told"),
        [
            ([3, 4, 5], [3, 4, 5]),
            ([4, 3], [4]),
            ([3, 3], [3]),
            ([5, 4, 3, 2], [5]),
            ([2, 1], []),
            ([6, 3], [3]),
        ],
    )
    async def test_only_goes_up_after_the_ack(self, stores: Stores, receipts: list[int], told: list[int]) -> None:
        """Receipts that come late, twice or out of order are not told; what the server has cannot fail."""
        await hand_over(stores)
        await stores.journal.commit([acknowledge()])
        events = await stores.journal.commit([receipt(status) for status in receipts])
        assert payloads(events) == [b"status %d" % status for status in told]
        found = await stored_send(stores)
        assert found is not None
        assert found.status == max([*told, MessageStatus.SERVER_ACK])

    async def test_receipts_that_overtake_the_ack_follow_it(self, stores: Stores) -> None:
        """They are kept aside, and told after the ack in the order of status, each status once."""
        await hand_over(stores)
        assert await stores.journal.commit([receipt(4)]) == []
        stores.clock.now = NOW + 5
        assert await stores.journal.commit([receipt(3), receipt(3, time=NOW + 9), receipt(6), receipt(1)]) == []
        events = await stores.journal.commit([acknowledge(), Append(draft(b"next"))])
        assert payloads(events) == [b"ack", b"status 3", b"status 4", b"next"]
        assert events[1].draft == receipt(3).event, "the first of two receipts counts"
        found = await stored_send(stores)
        assert found is not None
        assert (found.status, found.acked_at) == (MessageStatus.READ, NOW + 1)

    async def test_early_receipts_are_used_once(self, stores: Stores) -> None:
        """Another send that gets the same message id does not hear them again."""
        await hand_over(stores)
        await stores.journal.commit([receipt(3), acknowledge()])
        await stores.journal.commit([HandOver(send("b" * 32))])
        assert payloads(await stores.journal.commit([Acknowledge("b" * 32, MESSAGE_ID, NOW, draft(b"b"))])) == [b"b"]

    async def test_early_receipts_belong_to_a_session(self, stores: Stores) -> None:
        """The same message id in another session is another message."""
        await hand_over(stores)
        await stores.journal.commit([AdvanceStatus(OTHER, MESSAGE_ID, 3, draft(b"other", key=OTHER))])
        assert payloads(await stores.journal.commit([acknowledge()])) == [b"ack"]

    async def test_early_receipts_wait_a_day(self, stores: Stores) -> None:
        """After a day they are too old to be believed."""
        await hand_over(stores)
        await stores.journal.commit([receipt(3)])
        stores.clock.now = NOW + DAY / 2
        await stores.journal.commit([receipt(4)])
        stores.clock.now = NOW + DAY
        assert payloads(await stores.journal.commit([acknowledge()])) == [b"ack", b"status 4"]


class TestUnknownFate:
    """Sends whose answer never came."""

    async def test_is_no_longer_unsettled(self, stores: Stores) -> None:
        """Marked, it is found by its key, still pending, with the id if it is known."""
        await hand_over(stores)
        await stores.journal.commit([MarkUnknown(SEND_ID)])
        assert await stores.outbox.unsettled() == []
        assert await stored_send(stores) == send(idempotency_key="order-1")
        await stores.journal.commit([MarkUnknown(SEND_ID, MESSAGE_ID)])
        await stores.journal.commit([MarkUnknown(SEND_ID)])
        found = await stored_send(stores)
        assert found is not None
        assert (found.message_id, found.status, found.acked_at) == (MESSAGE_ID, MessageStatus.PENDING, None)

    async def test_a_receipt_settles_it(self, stores: Stores) -> None:
        """The recipient's receipt proves that the server has it; its time stands for the ack's."""
        await hand_over(stores)
        await stores.journal.commit([MarkUnknown(SEND_ID, MESSAGE_ID)])
        assert payloads(await stores.journal.commit([receipt(3)])) == [b"status 3"]
        found = await stored_send(stores)
        assert found is not None
        assert (found.status, found.acked_at) == (MessageStatus.DELIVERED, NOW + 2)

    async def test_a_receipt_that_came_before_the_id_settles_it(self, stores: Stores) -> None:
        """Naming the id applies what was kept aside for it, as an ack would."""
        await hand_over(stores)
        await stores.journal.commit([receipt(4), receipt(3)])
        events = await stores.journal.commit([MarkUnknown(SEND_ID, MESSAGE_ID)])
        assert payloads(events) == [b"status 3", b"status 4"]

    async def test_it_can_fail(self, stores: Stores) -> None:
        """FAILED ends a send that the server is not known to have; nothing follows, and its key can be released."""
        await hand_over(stores)
        await stores.journal.commit([MarkUnknown(SEND_ID, MESSAGE_ID)])
        assert payloads(await stores.journal.commit([receipt(6), receipt(6), receipt(3)])) == [b"status 6"]
        found = await stored_send(stores)
        assert found is not None
        assert (found.status, found.acked_at) == (MessageStatus.FAILED, None)
        assert await stores.outbox.unsettled() == []
        assert await stores.journal.commit([acknowledge()]) == []
        await stores.journal.commit([Release(SEND_ID)])
        assert await stored_send(stores) is None

    async def test_a_late_ack_settles_it(self, stores: Stores) -> None:
        """An ack after the mark counts like any other."""
        await hand_over(stores)
        await stores.journal.commit([MarkUnknown(SEND_ID)])
        assert payloads(await stores.journal.commit([acknowledge()])) == [b"ack"]
        found = await stored_send(stores)
        assert found is not None
        assert found.status == MessageStatus.SERVER_ACK

    async def test_an_acknowledged_send_is_not_unknown(self, stores: Stores) -> None:
        """Marking it, or a send that is gone, changes nothing."""
        await hand_over(stores)
        await stores.journal.commit([acknowledge(), MarkUnknown(SEND_ID, "OTHER"), MarkUnknown("c" * 32)])
        found = await stored_send(stores)
        assert found is not None
        assert (found.message_id, found.status) == (MESSAGE_ID, MessageStatus.SERVER_ACK)


async def test_spool_positions_only_grow(stores: Stores) -> None:
    """A mark below the stored one is ignored; spools do not mix."""
    await stores.journal.commit([MarkSpool("one", 5), MarkSpool("two", 9)])
    await stores.journal.commit([MarkSpool("one", 3)])
    assert await stores.events.spool_position("one") == 5
    assert await stores.events.spool_position("two") == 9
