"""The contract's WorkerService: every handler decodes, makes one call into the core, encodes."""

# ruff: noqa: N802, ARG002 - names and parameters are the contract's

from __future__ import annotations

from collections.abc import AsyncGenerator

from gateway_worker.domain.ids import SessionId
from gateway_worker.service.deadlines import time_left
from gateway_worker.service.interceptors import Context
from gateway_worker.service.principal import current_tenant
from gateway_worker.sessions.api import GatewayApi, SendCommand
from wagateway.worker.v1 import content_pb2, worker_pb2, worker_pb2_grpc


class WorkerService(worker_pb2_grpc.WorkerServiceServicer):
    """Serves WorkerService from the core.

    Args:
        core: The core.
    """

    def __init__(self, core: GatewayApi) -> None:
        self._core = core

    async def CreateSession(
        self, request: worker_pb2.CreateSessionRequest, context: Context
    ) -> worker_pb2.CreateSessionResponse:
        """Make a session's card."""
        session = await self._core.create_session(current_tenant(), request)
        return worker_pb2.CreateSessionResponse(session=session)

    async def GetSession(
        self, request: worker_pb2.GetSessionRequest, context: Context
    ) -> worker_pb2.GetSessionResponse:
        """Return a session."""
        session = self._core.get_session(current_tenant(), SessionId(request.session_id))
        return worker_pb2.GetSessionResponse(session=session)

    async def ListSessions(
        self, request: worker_pb2.ListSessionsRequest, context: Context
    ) -> worker_pb2.ListSessionsResponse:
        """Return a page of the tenant's sessions."""
        return self._core.list_sessions(current_tenant(), request)

    async def UpdateSession(
        self, request: worker_pb2.UpdateSessionRequest, context: Context
    ) -> worker_pb2.UpdateSessionResponse:
        """Change labels and settings."""
        session = await self._core.update_session(current_tenant(), request)
        return worker_pb2.UpdateSessionResponse(session=session)

    async def ConnectSession(
        self, request: worker_pb2.ConnectSessionRequest, context: Context
    ) -> worker_pb2.ConnectSessionResponse:
        """Connect a session, link it first when it is not linked."""
        session = await self._core.connect_session(
            current_tenant(), SessionId(request.session_id), request.pairing_phone_number
        )
        return worker_pb2.ConnectSessionResponse(session=session)

    async def DisconnectSession(
        self, request: worker_pb2.DisconnectSessionRequest, context: Context
    ) -> worker_pb2.DisconnectSessionResponse:
        """Close the connection, keep the link."""
        session = await self._core.disconnect_session(current_tenant(), SessionId(request.session_id))
        return worker_pb2.DisconnectSessionResponse(session=session)

    async def LogoutSession(
        self, request: worker_pb2.LogoutSessionRequest, context: Context
    ) -> worker_pb2.LogoutSessionResponse:
        """Unlink the device."""
        session = await self._core.logout_session(current_tenant(), SessionId(request.session_id))
        return worker_pb2.LogoutSessionResponse(session=session)

    async def DeleteSession(
        self, request: worker_pb2.DeleteSessionRequest, context: Context
    ) -> worker_pb2.DeleteSessionResponse:
        """Log out and erase everything of the session."""
        await self._core.delete_session(current_tenant(), SessionId(request.session_id))
        return worker_pb2.DeleteSessionResponse()

    async def GetPairing(
        self, request: worker_pb2.GetPairingRequest, context: Context
    ) -> worker_pb2.GetPairingResponse:
        """Return the code that is valid now."""
        pairing = await self._core.pairing(current_tenant(), SessionId(request.session_id), time_left())
        return worker_pb2.GetPairingResponse(pairing=pairing)

    async def SendText(self, request: worker_pb2.SendTextRequest, context: Context) -> worker_pb2.SendTextResponse:
        """Send text."""
        message = await self._send(request, content_pb2.Content(text=request.text))
        return worker_pb2.SendTextResponse(message=message)

    async def SendImage(self, request: worker_pb2.SendImageRequest, context: Context) -> worker_pb2.SendImageResponse:
        """Send an image."""
        message = await self._send(request, content_pb2.Content(image=request.image))
        return worker_pb2.SendImageResponse(message=message)

    async def SendMessage(
        self, request: worker_pb2.SendMessageRequest, context: Context
    ) -> worker_pb2.SendMessageResponse:
        """Send any content."""
        message = await self._send(request, request.content)
        return worker_pb2.SendMessageResponse(message=message)

    def SessionEvents(
        self, request: worker_pb2.SessionEventsRequest, context: Context
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Follow what happens to sessions."""
        return self._core.events(current_tenant(), request)

    async def AcknowledgeEvents(
        self, request: worker_pb2.AcknowledgeEventsRequest, context: Context
    ) -> worker_pb2.AcknowledgeEventsResponse:
        """Store how far a consumer got."""
        cursor = await self._core.acknowledge_events(current_tenant(), request.consumer, request.cursor)
        return worker_pb2.AcknowledgeEventsResponse(cursor=cursor)

    async def _send(
        self,
        request: worker_pb2.SendTextRequest | worker_pb2.SendImageRequest | worker_pb2.SendMessageRequest,
        content: content_pb2.Content,
    ) -> worker_pb2.SentMessage:
        command = SendCommand(SessionId(request.session_id), request.to, content, request.options, time_left())
        return await self._core.send(current_tenant(), command)
