"""The database against its model: whatever is committed, in whatever order and company, both say the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway_worker.domain.errors import GatewayError
from gateway_worker.domain.ids import Position, SessionId, SessionKey, TenantId
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
from gateway_worker.ports.records import EventFilter, StoredEvent
from tests.support.stores import NOW, Stores, card, draft, open_stores, send

T = TypeVar("T")

HOUR: Final = 3600.0
KEYS: Final = tuple(
    SessionKey(TenantId(tenant), SessionId(session))
    for tenant, session in (("default", "a"), ("default", "b"), ("acme", "a"))
)
FILTERS: Final = (
    EventFilter("default"),
    EventFilter("acme"),
    EventFilter("default", frozenset({"a"})),
    EventFilter("default", frozenset({"a", "b"}), frozenset({12})),
)
CONSUMERS: Final = ("crm", "bi")
IDEMPOTENCY_KEYS: Final = ("k1", "k2")

Outcome: TypeAlias = list[StoredEvent] | type[GatewayError]
Recipe: TypeAlias = Callable[["JournalComparison"], Operation]

keys = st.sampled_from(KEYS)
message_ids = st.sampled_from(("M1", "M2", "M3"))
statuses = st.integers(1, 6)
kinds = st.sampled_from((12, 13))
recent = st.integers(1, 4)  # how many sends back
spools = st.sampled_from(("s1", "s2"))

recipes: st.SearchStrategy[Recipe] = st.one_of(
    st.builds(lambda key: lambda _: CreateSession(card(key)), keys),
    st.builds(
        lambda key, version: lambda machine: SaveSession(card(key, version=version), machine.draft(key, 10)),
        keys,
        st.integers(1, 5),
    ),
    st.builds(lambda key: lambda _: EraseSession(key), keys),
    st.builds(lambda key, kind: lambda machine: Append(machine.draft(key, kind)), keys, kinds),
    st.builds(lambda key, mid: lambda machine: machine.message(key, mid), keys, message_ids),
    st.builds(
        lambda key, name: lambda machine: machine.hand_over(key, name),
        keys,
        st.sampled_from((None, *IDEMPOTENCY_KEYS)),
    ),
    st.builds(lambda back, mid: lambda machine: machine.acknowledge(back, mid), recent, message_ids),
    st.builds(lambda back: lambda machine: Release(machine.send_id(back)), recent),
    st.builds(
        lambda back, mid: lambda machine: MarkUnknown(machine.send_id(back), mid),
        recent,
        st.one_of(st.just(""), message_ids),
    ),
    st.builds(
        lambda key, mid, status: lambda machine: AdvanceStatus(key, mid, status, machine.draft(key, 13)),
        keys,
        message_ids,
        statuses,
    ),
    st.builds(lambda spool, position: lambda _: MarkSpool(spool, position), spools, st.integers(1, 9)),
)
commits = st.lists(recipes, min_size=1, max_size=4)


async def outcome_of(call: Coroutine[Any, Any, list[StoredEvent]]) -> Outcome:
    """What a commit returned, or the kind of its error."""
    try:
        return await call
    except GatewayError as error:
        return type(error)


class JournalComparison(RuleBasedStateMachine):
    """Does the same to the database and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.database = self.run(self._stack.enter_async_context(open_stores("sqlite", folder)))
        self.model = self.run(self._stack.enter_async_context(open_stores("memory", folder)))
        self.now = NOW
        self.count = 0

    def teardown(self) -> None:
        """Close both."""
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the machine's event loop."""
        return self._runner.run(call)

    def send_id(self, back: int) -> str:
        """Id of one of the last sends; of none when there are not so many."""
        return f"{self.count - back:032x}"

    def draft(self, key: SessionKey, kind: int) -> Any:
        """An event that is like no other."""
        self.count += 1
        return draft(b"%d" % self.count, key=key, kind=kind, time=self.now)

    def message(self, key: SessionKey, message_id: str) -> Operation:
        """A message that arrives."""
        return RecordMessage(key, "chat", "sender", message_id, from_me=False, raw=b"", event=self.draft(key, 12))

    def hand_over(self, key: SessionKey, idempotency_key: str | None) -> Operation:
        """A new send."""
        self.count += 1
        return HandOver(send(self.send_id(0), key=key, idempotency_key=idempotency_key, handed_at=self.now))

    def acknowledge(self, back: int, message_id: str) -> Operation:
        """An ack of one of the last sends, with an event in its session if it is still there."""
        send_id = self.send_id(back)
        open_sends = {record.send_id: record.key for record in self.run(self.model.outbox.unsettled())}
        return Acknowledge(send_id, message_id, self.now, self.draft(open_sends.get(send_id, KEYS[0]), 13))

    @rule(groups=st.lists(commits, min_size=1, max_size=5))
    def commit(self, groups: list[list[Recipe]]) -> None:
        """Commits that come at once to the database, one by one to the model."""
        made = [[recipe(self) for recipe in group] for group in groups]
        assert self.run(self._at_once(made)) == self.run(self._one_by_one(made))

    async def _at_once(self, groups: Sequence[Sequence[Operation]]) -> list[Outcome]:
        return await asyncio.gather(*(outcome_of(self.database.journal.commit(group)) for group in groups))

    async def _one_by_one(self, groups: Sequence[Sequence[Operation]]) -> list[Outcome]:
        return [await outcome_of(self.model.journal.commit(group)) for group in groups]

    @rule(hours=st.sampled_from((1, 11, 25, 100)))
    def wait(self, hours: int) -> None:
        """Time passes."""
        self.now += hours * HOUR
        self.database.clock.now = self.model.clock.now = self.now

    @rule(hours=st.sampled_from((0, 10, 24)))
    def prune(self, hours: int) -> None:
        """What is older than so many hours is dropped."""
        older_than = self.now - hours * HOUR
        assert self.run(self.database.events.prune(older_than)) == self.run(self.model.events.prune(older_than))

    @rule(tenant=st.sampled_from(("default", "acme")), consumer=st.sampled_from(CONSUMERS), place=st.integers(0, 20))
    def acknowledge_events(self, tenant: str, consumer: str, place: int) -> None:
        """A consumer tells how far it got."""
        stored = [
            self.run(stores.events.acknowledge(TenantId(tenant), consumer, Position(place)))
            for stores in (self.database, self.model)
        ]
        assert stored[0] == stored[1]

    @rule(spool=spools)
    def forget_spool(self, spool: str) -> None:
        """A spool is gone from disk."""
        for stores in (self.database, self.model):
            self.run(stores.events.forget_spool(spool))

    @invariant()
    def says_the_same(self) -> None:
        """Everything that can be read is the same on both sides."""
        assert self.run(self._everything(self.database)) == self.run(self._everything(self.model))

    @invariant()
    def sequences_have_no_gaps(self) -> None:
        """Within what is kept, each event of a session follows the one before, and positions only grow."""
        for key in KEYS:
            where = EventFilter(key.tenant, frozenset({key.session}))
            events = self.run(self.database.all_events(where, 5))
            sequences = [event.sequence for event in events]
            assert sequences == list(range(sequences[0], sequences[0] + len(events))) if sequences else True
            positions = [event.position for event in events]
            assert positions == sorted(set(positions))

    async def _everything(self, stores: Stores) -> dict[str, Any]:
        # The order of sends of one age within a group is the order of insertion on both sides.
        return {
            "sessions": await stores.sessions.sessions(),
            "unsettled": await stores.outbox.unsettled(),
            "bounds": await stores.events.bounds(),
            "events": [await stores.all_events(where, 3) for where in FILTERS],
            "sends": [await stores.outbox.find(key, name) for key in KEYS for name in IDEMPOTENCY_KEYS],
            "spools": [await stores.events.spool_position(spool) for spool in ("s1", "s2")],
            "consumers": [
                await stores.events.consumer_position(TenantId(tenant), consumer)
                for tenant in ("default", "acme")
                for consumer in CONSUMERS
            ],
        }


TestJournalModel = JournalComparison.TestCase
TestJournalModel.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
