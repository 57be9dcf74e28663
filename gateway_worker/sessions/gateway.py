"""The core: all sessions of this worker, and what clients may do with them.

Implements :class:`gateway_worker.sessions.api.GatewayApi`. One task a session follows its life cycle; sends and commits
that must outlive the call they serve have tasks of their own. All of them belong to the gateway and end with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from gateway_worker.domain.errors import (
    CursorExpiredError,
    DrainingError,
    InvalidArgumentError,
    InvalidCursorError,
    NotLinkedError,
    ReconnectingError,
    SessionExistsError,
    SessionNotFoundError,
    Violation,
)
from gateway_worker.domain.ids import (
    Position,
    SessionId,
    SessionKey,
    TenantId,
    cursor_of,
    new_session_id,
    position_of,
)
from gateway_worker.domain.lifecycle import (
    ConnectRequested,
    DisconnectRequested,
    Lifecycle,
    LoggedOut,
    Reason,
    Recovered,
    State,
)
from gateway_worker.domain.recipients import is_region, parse_recipient
from gateway_worker.ports.auth import AuthStates
from gateway_worker.ports.engines import EngineCallError, EngineGoneError, EngineListener, Engines
from gateway_worker.ports.ephemera import Clock, CodeStore, MediaStaging
from gateway_worker.ports.journal import (
    Append,
    CreateSession,
    EraseSession,
    EventLog,
    Journal,
    Operation,
    Outbox,
    SessionStore,
)
from gateway_worker.ports.records import EventFilter, SessionRecord
from gateway_worker.sessions.actor import SessionActor, Tools
from gateway_worker.sessions.api import SendCommand
from gateway_worker.sessions.commits import commit_until_stored
from gateway_worker.sessions.encode import draft, session_message, state_event, timestamp
from gateway_worker.sessions.fate import settle_leftovers
from gateway_worker.sessions.feed import EventFeed
from gateway_worker.sessions.inbound import Inbound
from gateway_worker.sessions.pages import page_of
from gateway_worker.sessions.pairing import PairingDesk
from gateway_worker.sessions.sending import SendTools
from gateway_worker.sessions.tasks import TaskKeeper
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2

logger = logging.getLogger(__name__)

_DEFAULT_HEARTBEAT = 15.0
_LOGOUT_PATIENCE = 20.0  # s that a logout waits for a connection to tell WhatsApp by
_UPDATABLE = ("labels", "settings", "settings.default_region", "settings.device_name")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the core stands on."""

    journal: Journal
    log: EventLog
    store: SessionStore
    outbox: Outbox
    auth: AuthStates
    codes: CodeStore
    staging: MediaStaging
    clock: Clock


class Gateway:
    """All sessions of this worker.

    Args:
        ports: What it stands on.

    Use: hand :attr:`listener` to the engines, then ``await load(engines)``; serve; ``connect()``. At the end
    ``close_streams()``, ``await rest()``, drain the engines, ``await close()``.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._actors: dict[SessionKey, SessionActor] = {}
        self._creating: set[SessionKey] = set()
        self._keeper = TaskKeeper()
        self._runs: dict[SessionKey, asyncio.Task[None]] = {}
        self._feed = EventFeed(ports.log, ports.clock)
        self._draining = False
        self._inbound = Inbound(
            journal=ports.journal,
            log=ports.log,
            clock=ports.clock,
            find=lambda handle: self._actors.get(SessionKey.from_handle(handle)),
            offer=lambda actor, code: self._desk.offer(actor, code),  # noqa: PLW0108 - the desk comes with load()
            show=self._feed.show,
            spawn_commit=self._spawn_commit,
        )

    @property
    def listener(self) -> EngineListener:
        """Who must be told what happens in engines."""
        return self._inbound

    async def load(self, engines: Engines) -> None:
        """Read the cards, import what dead engines left, and settle what was under way. Calls may come afterwards."""
        ports = self._ports
        self._engines = engines
        self._inbound.engines = engines
        bounds = await ports.log.bounds()
        self._feed.start(bounds.head)
        ports.journal.subscribe(self._feed.publish)
        self._desk = PairingDesk(
            codes=ports.codes, engines=engines, feed=self._feed, clock=ports.clock, spawn=self._keeper.spawn
        )
        self._tools = Tools(
            journal=ports.journal,
            engines=engines,
            auth=ports.auth,
            codes=ports.codes,
            clock=ports.clock,
        )
        self._send_tools = SendTools(
            journal=ports.journal,
            outbox=ports.outbox,
            engines=engines,
            auth=ports.auth,
            staging=ports.staging,
            clock=ports.clock,
            spawn=self._keeper.spawn,
        )
        for record in await ports.store.sessions():
            self._actors[record.key] = SessionActor(record, self._tools, self._send_tools)
        await engines.recover_spools()
        await settle_leftovers(ports.outbox, ports.journal, ports.auth, self._generation)
        operations = [operation for actor in self._actors.values() for operation in actor.signal(Recovered())]
        if operations:
            await ports.journal.commit(operations)

    def connect(self) -> None:
        """Let every session follow its life cycle: those that are wanted connect."""
        for actor in self._actors.values():
            if actor.key not in self._runs:
                self._follow(actor)
        wanted = sum(actor.lifecycle.needs_client for actor in self._actors.values())
        logger.info("%d sessions, %d of them to be connected", len(self._actors), wanted)

    def close_streams(self) -> None:
        """End every event stream with a last cursor; new ones end at once."""
        self._draining = True
        self._feed.close()

    async def rest(self) -> None:
        """Follow life cycles no more, so that nothing is started; the engines' own drain stops the clients."""
        for task in self._runs.values():
            task.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def close(self) -> None:
        """End what is left."""
        await self._keeper.close()

    # What clients may do ------------------------------------------------------------------------------------------

    async def create_session(self, tenant: TenantId, request: worker_pb2.CreateSessionRequest) -> session_pb2.Session:
        """Make a card."""
        key = SessionKey(tenant, SessionId(request.session_id) if request.session_id else new_session_id())
        _check_region(request.settings.default_region)
        if key in self._actors or key in self._creating:
            raise SessionExistsError
        now = self._ports.clock.time()
        record = SessionRecord(
            key=key,
            labels=dict(request.labels),
            default_region=request.settings.default_region,
            device_name=request.settings.device_name,
            lifecycle=Lifecycle(),
            since=now,
            account=None,
            created_at=now,
            updated_at=now,
        )
        self._creating.add(key)
        try:
            await self._ports.journal.commit([CreateSession(record), Append(state_event(record, 0, now))])
        finally:
            self._creating.discard(key)
        actor = self._actors[key] = SessionActor(record, self._tools, self._send_tools)
        self._follow(actor)
        return session_message(record)

    def get_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Return a session."""
        return session_message(self._actor(tenant, session).record)

    def list_sessions(
        self, tenant: TenantId, request: worker_pb2.ListSessionsRequest
    ) -> worker_pb2.ListSessionsResponse:
        """Return a page of sessions."""
        return page_of((actor.record for actor in self._actors.values() if actor.key.tenant == tenant), request)

    async def update_session(self, tenant: TenantId, request: worker_pb2.UpdateSessionRequest) -> session_pb2.Session:
        """Change what the mask names."""
        actor = self._actor(tenant, SessionId(request.session_id))
        paths = set(request.update_mask.paths)
        if not paths or not paths <= set(_UPDATABLE):
            raise InvalidArgumentError(Violation("update_mask", f"must name some of {', '.join(_UPDATABLE)}"))
        record, settings = actor.record, request.settings
        if "labels" in paths:
            record = replace(record, labels=dict(request.labels))
        if paths & {"settings", "settings.default_region"}:
            _check_region(settings.default_region)
            record = replace(record, default_region=settings.default_region)
        if paths & {"settings", "settings.device_name"}:
            record = replace(record, device_name=settings.device_name)
        await actor.update(replace(record, updated_at=self._ports.clock.time()))
        return session_message(actor.record)

    async def connect_session(
        self, tenant: TenantId, session: SessionId, pairing_phone_number: str
    ) -> session_pb2.Session:
        """Want the session connected."""
        actor = self._actor(tenant, session)
        phone_number = ""
        if pairing_phone_number:
            jid = parse_recipient(pairing_phone_number, region=actor.region, field="pairing_phone_number").jid
            phone_number = jid.partition("@")[0]
        if not actor.lifecycle.needs_client:
            actor.pairing_phone_number = phone_number
        await actor.transition(ConnectRequested())
        return session_message(actor.record)

    async def disconnect_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Close the connection and keep the link."""
        actor = self._actor(tenant, session)
        await actor.transition(DisconnectRequested())
        await actor.settled()
        return session_message(actor.record)

    async def logout_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Unlink."""
        actor = self._actor(tenant, session)
        if not actor.lifecycle.linked:
            raise NotLinkedError
        await self._logout(actor)
        return session_message(actor.record)

    async def delete_session(self, tenant: TenantId, session: SessionId) -> None:
        """Log out as well as possible, then erase everything."""
        actor = self._actor(tenant, session)
        key = actor.key
        if actor.lifecycle.state is State.CONNECTED:
            try:
                await self._logout(actor)
            except (ReconnectingError, NotLinkedError):
                logger.warning("session %s: erased without being unlinked: WhatsApp could not be told", session)
        await actor.transition(DisconnectRequested())
        await actor.settled()
        now = self._ports.clock.time()
        deleted = draft(key, event_pb2.Event(deleted=event_pb2.SessionDeleted()), now)
        await self._ports.journal.commit([EraseSession(key), Append(deleted)])
        self._actors.pop(key, None)
        run = self._runs.pop(key)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        self._feed.erase(key)
        await self._ports.codes.drop(key)
        await self._ports.auth.discard(key)

    async def pairing(self, tenant: TenantId, session: SessionId, time_left: float | None) -> session_pb2.Pairing:
        """The code valid now."""
        return await self._desk.wait(self._actor(tenant, session), time_left)

    async def send(self, tenant: TenantId, command: SendCommand) -> worker_pb2.SentMessage:
        """Send."""
        if self._draining:
            raise DrainingError
        return await self._actor(tenant, command.session).sender.send(command)

    async def events(
        self, tenant: TenantId, request: worker_pb2.SessionEventsRequest
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Follow what happens."""
        sessions = frozenset(request.session_ids) or None
        for session in request.session_ids:
            self._actor(tenant, SessionId(session))
        where = EventFilter(tenant, sessions, frozenset(request.kinds) or None)
        after = await self._start_of(tenant, request)
        heartbeat = request.heartbeat_interval.ToTimedelta().total_seconds() or _DEFAULT_HEARTBEAT
        first = await self._snapshots(where)
        async for response in self._feed.follow(where, after, first, heartbeat):
            yield response

    async def acknowledge_events(self, tenant: TenantId, consumer: str, cursor: str) -> str:
        """Store how far a consumer got."""
        position = position_of(cursor)
        if position > self._feed.head:
            raise InvalidCursorError
        return cursor_of(await self._ports.log.acknowledge(tenant, consumer, position))

    # Inside -------------------------------------------------------------------------------------------------------

    def _actor(self, tenant: TenantId, session: SessionId) -> SessionActor:
        actor = self._actors.get(SessionKey(tenant, session))
        if actor is None:
            raise SessionNotFoundError
        return actor

    def _generation(self, key: SessionKey) -> int | None:
        actor = self._actors.get(key)
        return actor.generation if actor is not None else None

    def _follow(self, actor: SessionActor) -> None:
        self._runs[actor.key] = self._keeper.spawn(actor.run(), f"session {actor.key.handle}")
        if actor.lifecycle.needs_client:
            actor.nudge()

    def _spawn_commit(self, operations: Sequence[Operation], actor: SessionActor) -> None:
        async def commit() -> None:
            if operations:
                await commit_until_stored(self._ports.journal, operations)
            actor.nudge()

        self._keeper.spawn(commit(), f"commit {actor.key.handle}")

    async def _logout(self, actor: SessionActor) -> None:
        """Tell WhatsApp, connecting for it if need be; raises ReconnectingError when it cannot be told now."""
        await actor.transition(ConnectRequested())
        try:
            async with asyncio.timeout(_LOGOUT_PATIENCE):
                while actor.lifecycle.state is not State.CONNECTED:
                    if not actor.lifecycle.linked:
                        return  # the phone was faster
                    if not actor.lifecycle.needs_client:
                        raise ReconnectingError("WhatsApp cannot be told now; nothing was unlinked")
                    await actor.changed()
                await self._engines.logout(actor.key.handle)
        except (TimeoutError, EngineCallError, EngineGoneError) as error:
            raise ReconnectingError("WhatsApp cannot be told now; nothing was unlinked", retry_after=2.0) from error
        await actor.transition(LoggedOut(Reason.REQUESTED))
        await actor.settled()

    async def _start_of(self, tenant: TenantId, request: worker_pb2.SessionEventsRequest) -> Position:
        """Where a stream starts; raises InvalidCursorError, CursorExpiredError."""
        match request.WhichOneof("start"):
            case "cursor":
                after = position_of(request.cursor)
                if after > self._feed.head:
                    raise InvalidCursorError
            case "consumer":
                known = await self._ports.log.consumer_position(tenant, request.consumer)
                if known is None:
                    return (await self._ports.log.bounds()).oldest
                after = known
            case "position" if request.position == worker_pb2.START_POSITION_EARLIEST:
                return (await self._ports.log.bounds()).oldest
            case _:
                return self._feed.head
        oldest = (await self._ports.log.bounds()).oldest
        if after < oldest:
            raise CursorExpiredError(metadata={"oldest_cursor": cursor_of(oldest)})
        return after

    async def _snapshots(self, where: EventFilter) -> list[event_pb2.Event]:
        """What is so now, for a stream that opens."""
        if where.kinds is not None and event_pb2.EVENT_KIND_SNAPSHOT not in where.kinds:
            return []
        now = timestamp(self._ports.clock.time())
        events = []
        for key, actor in sorted(self._actors.items()):
            if key.tenant != where.tenant or (where.sessions is not None and key.session not in where.sessions):
                continue
            snapshot = event_pb2.SessionSnapshot(
                session=session_message(actor.record), pairing=await self._desk.current(actor)
            )
            events.append(event_pb2.Event(session_id=key.session, time=now, snapshot=snapshot))
        return events


def _check_region(region: str) -> None:
    if region and not is_region(region):
        raise InvalidArgumentError(
            Violation(
                "settings.default_region", "must be a region with a phone numbering plan, for example ID, DE or US"
            )
        )
