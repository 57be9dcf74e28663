"""A core that does what a test tells it to, behind the real gRPC edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from gateway_worker.domain.ids import SessionId, TenantId
from gateway_worker.sessions.api import GatewayApi, SendCommand
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2


@dataclass(frozen=True, slots=True)
class CoreCall:
    """A call that reached the core: method, tenant, and the arguments after the tenant."""

    method: str
    tenant: str
    arguments: tuple[object, ...]


@dataclass
class ScriptedCore:
    """Implements GatewayApi.

    Attributes:
        error: Raised by every call, and by ``events`` after the scripted ones.
        hold: While set and not released, asynchronous calls wait for it.
        on_cancel: Raised instead of the cancellation of a call that waits for ``hold``.
        responses: What ``events`` yields; then it raises ``error``, or waits for ``hold``, or ends.
        calls: What reached the core, in order.
        cancelled: Methods that were cancelled while they waited.
        streams_closed: How many iterators of ``events`` were closed.
        pulled: How many responses were taken out of ``events``.
    """

    error: BaseException | None = None
    hold: asyncio.Event | None = None
    on_cancel: Exception | None = None
    responses: Callable[[], Sequence[worker_pb2.SessionEventsResponse]] = tuple
    calls: list[CoreCall] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    streams_closed: int = 0
    pulled: int = 0

    async def create_session(self, tenant: TenantId, request: worker_pb2.CreateSessionRequest) -> session_pb2.Session:
        """Return a session with the id and labels asked for."""
        await self._serve("create_session", tenant, request)
        return session_pb2.Session(id=request.session_id or "s-generated", labels=request.labels)

    def get_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Return a session with that id."""
        self._note("get_session", tenant, session)
        return session_pb2.Session(id=session)

    def list_sessions(
        self, tenant: TenantId, request: worker_pb2.ListSessionsRequest
    ) -> worker_pb2.ListSessionsResponse:
        """Return one session and a token."""
        self._note("list_sessions", tenant, request)
        return worker_pb2.ListSessionsResponse(sessions=[session_pb2.Session(id="one")], next_page_token="two")  # noqa: S106

    async def update_session(self, tenant: TenantId, request: worker_pb2.UpdateSessionRequest) -> session_pb2.Session:
        """Return the settings asked for."""
        await self._serve("update_session", tenant, request)
        return session_pb2.Session(id=request.session_id, settings=request.settings)

    async def connect_session(
        self, tenant: TenantId, session: SessionId, pairing_phone_number: str
    ) -> session_pb2.Session:
        """Return the session as wanted."""
        await self._serve("connect_session", tenant, session, pairing_phone_number)
        return session_pb2.Session(id=session, connection_wanted=True)

    async def disconnect_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Return the session, when it is let go on."""
        await self._serve("disconnect_session", tenant, session)
        return session_pb2.Session(id=session)

    async def logout_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Return the session, when it is let go on."""
        await self._serve("logout_session", tenant, session)
        return session_pb2.Session(id=session)

    async def delete_session(self, tenant: TenantId, session: SessionId) -> None:
        """Return, when it is let go on."""
        await self._serve("delete_session", tenant, session)

    async def pairing(self, tenant: TenantId, session: SessionId, time_left: float | None) -> session_pb2.Pairing:
        """Return a QR code."""
        await self._serve("pairing", tenant, session, time_left)
        return session_pb2.Pairing(qr="2@code")

    async def send(self, tenant: TenantId, command: SendCommand) -> worker_pb2.SentMessage:
        """Return an acknowledged message."""
        await self._serve("send", tenant, command)
        return worker_pb2.SentMessage(
            id="3EB0", session_id=command.session, chat=command.to, status=event_pb2.MESSAGE_STATUS_SERVER_ACK
        )

    async def events(
        self, tenant: TenantId, request: worker_pb2.SessionEventsRequest
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Yield the scripted responses; see the class."""
        try:
            self.calls.append(CoreCall("events", tenant, (request,)))
            for response in self.responses():
                self.pulled += 1
                yield response
            if self.error is not None:
                raise self.error
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.append("events")
            raise
        finally:
            self.streams_closed += 1

    async def acknowledge_events(self, tenant: TenantId, consumer: str, cursor: str) -> str:
        """Return the cursor given."""
        await self._serve("acknowledge_events", tenant, consumer, cursor)
        return cursor

    def _note(self, method: str, tenant: TenantId, *arguments: object) -> None:
        self.calls.append(CoreCall(method, tenant, arguments))
        if self.error is not None:
            raise self.error

    async def _serve(self, method: str, tenant: TenantId, *arguments: object) -> None:
        self._note(method, tenant, *arguments)
        if self.hold is None:
            return
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.append(method)
            if self.on_cancel is not None:
                raise self.on_cancel from None
            raise


def as_core(core: ScriptedCore) -> GatewayApi:
    """The core as the edge sees it; the type checker proves here that it is one."""
    return core
