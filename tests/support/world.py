"""A gateway on a real database, with engines that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gateway_worker.adapters.filesystem.staging import FileMediaStaging
from gateway_worker.adapters.memory.clock import SystemClock
from gateway_worker.adapters.memory.codes import MemoryCodeStore
from gateway_worker.adapters.sqlite.auth import SqliteAuthStates
from gateway_worker.adapters.sqlite.database import SqliteDatabase
from gateway_worker.adapters.sqlite.journal import SqliteJournal
from gateway_worker.adapters.sqlite.outbox import SqliteOutbox
from gateway_worker.adapters.sqlite.sessions import SqliteSessionStore
from gateway_worker.domain.ids import DEFAULT_TENANT, SessionId, SessionKey
from gateway_worker.sessions.api import SendCommand
from gateway_worker.sessions.gateway import Gateway, Ports
from tests.support.fake_engines import FakeEngines
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2, worker_pb2

SESSION = SessionId("shop")
KEY = SessionKey(DEFAULT_TENANT, SESSION)
ACCOUNT = "6281200000001:3@s.whatsapp.net"


Condition: TypeAlias = Callable[[], bool]


def command(
    text: str = "hi", to: str = "+6281200000101", *, time_left: float | None = None, **options: Any
) -> SendCommand:
    """A text to send; keywords are fields of SendOptions."""
    return SendCommand(
        session=SESSION,
        to=to,
        content=content_pb2.Content(text=content_pb2.TextContent(text=text)),
        options=content_pb2.SendOptions(**options),
        time_left=time_left,
    )


async def until(condition: Condition, seconds: float = 5.0) -> None:
    """Wait until something is so; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True)
class World:
    """A gateway and its surroundings."""

    gateway: Gateway
    engines: FakeEngines
    journal: SqliteJournal
    outbox: SqliteOutbox
    auth: SqliteAuthStates
    clock: SystemClock
    data: Path

    async def link(self, session: SessionId = SESSION) -> None:
        """Create a session and bring it to CONNECTED, over the pairing engine."""
        handle = SessionKey(DEFAULT_TENANT, session).handle
        await self.gateway.create_session(DEFAULT_TENANT, worker_pb2.CreateSessionRequest(session_id=session))
        await self.gateway.connect_session(DEFAULT_TENANT, session, "")
        await until(lambda: self.engines.is_live(handle))
        await self.engines.tell(handle, paired=engine_pb2.Paired(jid=ACCOUNT, lid="200000000000001@lid"))
        await self.engines.tell(handle, logged_in=engine_pb2.LoggedIn(jid=ACCOUNT))
        await until(lambda: self.state(session) == session_pb2.SESSION_STATE_CONNECTED)

    def session(self, session: SessionId = SESSION) -> session_pb2.Session:
        """A session."""
        return self.gateway.get_session(DEFAULT_TENANT, session)

    def state(self, session: SessionId = SESSION) -> session_pb2.SessionState.ValueType:
        """A session's state."""
        return self.session(session).status.state

    async def send(self, text: str = "hi", to: str = "+6281200000101", **options: Any) -> worker_pb2.SentMessage:
        """Send a text."""
        return await self.gateway.send(DEFAULT_TENANT, command(text, to, **options))

    async def events(self, **request: Any) -> list[event_pb2.Event]:
        """What a stream tells until it has nothing more to tell."""
        asked = worker_pb2.SessionEventsRequest(**request)
        if asked.WhichOneof("start") is None:
            asked.position = worker_pb2.START_POSITION_EARLIEST
        asked.heartbeat_interval.FromMilliseconds(50)
        found = []
        async with aclosing(self.gateway.events(DEFAULT_TENANT, asked)) as stream:
            async for response in stream:
                if response.HasField("heartbeat"):
                    break
                found.append(response.event)
        return found


@asynccontextmanager
async def open_world(data: Path) -> AsyncIterator[World]:
    """A gateway on the data directory ``data``."""
    clock = SystemClock()
    async with SqliteDatabase(data / "gateway.db") as database, FileMediaStaging(data / "staging") as staging:
        journal, outbox, auth = (
            SqliteJournal(database, clock),
            SqliteOutbox(database, clock),
            SqliteAuthStates(data / "sessions"),
        )
        gateway = Gateway(
            Ports(
                journal=journal,
                log=journal,
                store=SqliteSessionStore(database),
                outbox=outbox,
                auth=auth,
                codes=MemoryCodeStore(clock),
                staging=staging,
                clock=clock,
            )
        )
        engines = FakeEngines(gateway.listener)
        await gateway.load(engines)
        gateway.connect()
        try:
            yield World(gateway, engines, journal, outbox, auth, clock, data)
        finally:
            gateway.close_streams()
            await gateway.rest()
            await gateway.close()
