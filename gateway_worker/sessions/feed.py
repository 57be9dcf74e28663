"""The feed: from the journal to every open stream, without a gap or a repeat.

A stream reads by position. Recent events are kept in memory, so that a stream that is up to date never reads the
database; one that lags reads pages from the journal until it has caught up. A stream is pulled by its reader: a client
that reads slowly slows nobody else and holds no more than one page.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from gateway_worker.domain.errors import CursorExpiredError, DrainingError
from gateway_worker.domain.ids import ORIGIN, Position, SessionKey, cursor_of
from gateway_worker.ports.ephemera import Clock
from gateway_worker.ports.journal import EventLog
from gateway_worker.ports.records import EventFilter, StoredEvent
from gateway_worker.sessions.encode import timestamp
from wagateway.worker.v1 import event_pb2, worker_pb2

_RECENT = 4096  # events kept in memory
_PAGE = 256  # events read from the journal at a time
_EPHEMERAL = 256  # ephemeral events kept for a stream that does not read; the oldest go first


class _Recent:
    """The newest events, contiguous by position; each is decoded once, whoever reads it."""

    def __init__(self, head: Position) -> None:
        self._events: deque[tuple[StoredEvent, worker_pb2.SessionEventsResponse | None]] = deque()
        self.head = head

    @property
    def after(self) -> Position:
        """Readers at this position or later find everything they miss here."""
        return Position(self.head - len(self._events))

    def extend(self, events: Sequence[StoredEvent]) -> None:
        """Add what comes directly after the head."""
        for event in events:
            self._events.append((event, None))
        self.head = events[-1].position
        while len(self._events) > _RECENT:
            self._events.popleft()

    def since(self, position: Position, where: EventFilter) -> Iterator[worker_pb2.SessionEventsResponse]:
        """Accepted events after a position that is not older than :attr:`after`, as they are now."""
        start = max(0, len(self._events) - (self.head - position))
        for index in range(start, len(self._events)):
            event, response = self._events[index]
            if not where.accepts(event.draft):
                continue
            if response is None:
                response = _response(event)
                self._events[index] = (event, response)
            yield response

    def erase(self, key: SessionKey) -> bool:
        """Whether any event of the session is in memory; if so forget all, so that readers ask the journal again."""
        if not any(event.draft.key == key for event, _ in self._events):
            return False
        self._events.clear()
        return True


def _response(event: StoredEvent) -> worker_pb2.SessionEventsResponse:
    response = worker_pb2.SessionEventsResponse()
    response.event.ParseFromString(event.draft.payload)
    response.event.sequence = event.sequence
    response.event.cursor = cursor_of(event.position)
    return response


@dataclass(eq=False, slots=True)
class _Stream:
    """What the feed knows of an open stream."""

    where: EventFilter
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ephemeral: deque[worker_pb2.SessionEventsResponse] = field(default_factory=lambda: deque(maxlen=_EPHEMERAL))


class EventFeed:
    """Fans events out to streams.

    Args:
        log: The journal's reads.
        clock: The time in heartbeats.
    """

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._recent = _Recent(ORIGIN)
        self._streams: set[_Stream] = set()
        self._closed = False

    @property
    def head(self) -> Position:
        """Position of the newest event."""
        return self._recent.head

    def start(self, head: Position) -> None:
        """Begin behind the newest event of the journal."""
        self._recent = _Recent(head)

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Show events that are on disk, in order of position. Called by the journal."""
        self._recent.extend(events)
        for stream in self._streams:
            if not stream.wake.is_set() and any(stream.where.accepts(event.draft) for event in events):
                stream.wake.set()

    def show(self, key: SessionKey, event: event_pb2.Event) -> None:
        """Show an ephemeral event to the streams that are open and want it."""
        kind = event.WhichOneof("kind")
        assert kind is not None, "an event without a kind cannot be shown"  # noqa: S101 - a bug here, not bad input
        number = event.DESCRIPTOR.fields_by_name[kind].number
        response = worker_pb2.SessionEventsResponse(event=event)
        for stream in self._streams:
            where = stream.where
            if (
                key.tenant == where.tenant
                and (where.sessions is None or key.session in where.sessions)
                and (where.kinds is None or number in where.kinds)
            ):
                stream.ephemeral.append(response)
                stream.wake.set()

    def erase(self, key: SessionKey) -> None:
        """Forget the events of a session that was deleted; streams go on from the journal."""
        self._recent.erase(key)

    def close(self) -> None:
        """End every stream: each is given what is left, a last heartbeat with its cursor, and DrainingError."""
        self._closed = True
        for stream in self._streams:
            stream.wake.set()

    async def follow(
        self,
        where: EventFilter,
        after: Position,
        first: Sequence[event_pb2.Event],
        heartbeat: float,
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Yield ``first``, then every accepted event after a position, then what happens, until closed.

        Args:
            where: What the reader wants.
            after: Where it stands; the journal must reach back to it.
            first: Ephemeral events that it is given at once.
            heartbeat: Seconds of silence after which a heartbeat is sent.

        Raises:
            DrainingError: The feed was closed; everything up to its head was yielded before.
            CursorExpiredError: The reader lagged so far behind that the journal was pruned beneath it.
        """
        stream = _Stream(where)
        self._streams.add(stream)
        try:
            for event in first:
                yield worker_pb2.SessionEventsResponse(event=event)
            position = after
            while True:
                stream.wake.clear()
                closing = self._closed
                async for response, place in self._catch_up(where, position):
                    position = place
                    if response is not None:
                        yield response
                while stream.ephemeral:
                    yield stream.ephemeral.popleft()
                if closing:
                    yield self._heartbeat(position)
                    raise DrainingError
                if stream.wake.is_set():
                    continue
                try:
                    async with asyncio.timeout(heartbeat):
                        await stream.wake.wait()
                except TimeoutError:
                    if position >= self._recent.after:
                        position = max(position, self._passed(where, position))
                    yield self._heartbeat(position)
        finally:
            self._streams.discard(stream)

    async def _catch_up(
        self, where: EventFilter, position: Position
    ) -> AsyncIterator[tuple[worker_pb2.SessionEventsResponse | None, Position]]:
        """Yield accepted events after ``position`` up to the head, each with the place up to which all was yielded."""
        while position < self._recent.head:
            if position >= self._recent.after:
                # A copy: the reader may take its time, and the deque goes on without it.
                head, responses = self._recent.head, list(self._recent.since(position, where))
                for response in responses:
                    yield response, position
                position = head
            else:
                page = await self._log.read(position, where, _PAGE)
                if (oldest := (await self._log.bounds()).oldest) > position:
                    # The journal was pruned beneath a reader that lags: it is told, not silently moved on.
                    raise CursorExpiredError(metadata={"oldest_cursor": cursor_of(oldest)})
                for event in page.events:
                    yield _response(event), event.position
                if page.through <= position:  # the rest is not visible to readers yet, or was erased
                    return
                position = page.through
            yield None, position

    def _passed(self, where: EventFilter, position: Position) -> Position:
        """The head, if nothing accepted lies between: a heartbeat then carries a cursor beyond what was filtered."""
        return position if any(True for _ in self._recent.since(position, where)) else self._recent.head

    def _heartbeat(self, position: Position) -> worker_pb2.SessionEventsResponse:
        return worker_pb2.SessionEventsResponse(
            heartbeat=worker_pb2.Heartbeat(cursor=cursor_of(position), time=timestamp(self._clock.time()))
        )
