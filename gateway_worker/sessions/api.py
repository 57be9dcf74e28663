"""What the gRPC edge may ask of the core.

Values are the contract's own messages (``wagateway.worker.v1``), which cross from the edge to the engine unchanged; the
edge validated them. Errors are :class:`gateway_worker.domain.errors.GatewayError`. The tenant is the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from gateway_worker.domain.ids import SessionId, TenantId
from wagateway.worker.v1 import content_pb2, session_pb2, worker_pb2


@dataclass(frozen=True, slots=True)
class SendCommand:
    """One message to send.

    Attributes:
        session: The session that sends.
        to: Recipient as the client wrote it.
        content: What it says. Exactly one kind, never ``unknown``.
        options: The client's options.
        time_left: Seconds until the call's deadline; None when it has none.
    """

    session: SessionId
    to: str
    content: content_pb2.Content
    options: content_pb2.SendOptions
    time_left: float | None


class GatewayApi(Protocol):
    """The core."""

    async def create_session(self, tenant: TenantId, request: worker_pb2.CreateSessionRequest) -> session_pb2.Session:
        """Make a card. Raises SessionExistsError, InvalidArgumentError (an unknown region), StoreUnavailableError."""
        ...

    def get_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Return a session. Raises SessionNotFoundError."""
        ...

    def list_sessions(
        self, tenant: TenantId, request: worker_pb2.ListSessionsRequest
    ) -> worker_pb2.ListSessionsResponse:
        """Return a page of sessions. Raises InvalidArgumentError (a foreign page token)."""
        ...

    async def update_session(self, tenant: TenantId, request: worker_pb2.UpdateSessionRequest) -> session_pb2.Session:
        """Change what the mask names. Raises SessionNotFoundError, InvalidArgumentError, StoreUnavailableError."""
        ...

    async def connect_session(
        self, tenant: TenantId, session: SessionId, pairing_phone_number: str
    ) -> session_pb2.Session:
        """Want the session connected; returns at once. Raises SessionNotFoundError, InvalidRecipientError."""
        ...

    async def disconnect_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Close the connection and keep the link. Raises SessionNotFoundError."""
        ...

    async def logout_session(self, tenant: TenantId, session: SessionId) -> session_pb2.Session:
        """Unlink. Raises SessionNotFoundError, NotLinkedError, ReconnectingError, EngineUnavailableError."""
        ...

    async def delete_session(self, tenant: TenantId, session: SessionId) -> None:
        """Log out as well as possible, then erase everything. Raises SessionNotFoundError."""
        ...

    async def pairing(self, tenant: TenantId, session: SessionId, time_left: float | None) -> session_pb2.Pairing:
        """The code valid now; waits for the first while the session connects. Raises NotPairingError."""
        ...

    async def send(self, tenant: TenantId, command: SendCommand) -> worker_pb2.SentMessage:
        """Send, and return once WhatsApp's server acknowledged it. Raises most of the errors there are."""
        ...

    def events(
        self, tenant: TenantId, request: worker_pb2.SessionEventsRequest
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Follow what happens, until the iterator is closed.

        Raises SessionNotFoundError, InvalidCursorError, CursorExpiredError, and DrainingError at the end.
        """
        ...

    async def acknowledge_events(self, tenant: TenantId, consumer: str, cursor: str) -> str:
        """Store how far a consumer got; return the cursor stored now. Raises InvalidCursorError."""
        ...
