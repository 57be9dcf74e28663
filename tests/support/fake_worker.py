"""A worker that answers what a test tells it to: the API's surface on a real gRPC server, with nothing behind it."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

import queue
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2_grpc
from grpc_status import rpc_status

from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2, worker_pb2_grpc


@dataclass(frozen=True, slots=True)
class Refuse:
    """How a call is refused, with the details that the contract promises."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "no"
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def abort(self, context: grpc.ServicerContext) -> None:
        """End the call."""
        details: list[Message] = []
        if self.reason:
            info = error_details_pb2.ErrorInfo(domain="wagateway", reason=self.reason, metadata=self.metadata)
            details.append(info)
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for path, text in self.violations:
                bad.field_violations.add(field=path, description=text)
            details.append(bad)
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_after * 1e9))
            details.append(retry)
        if not details:
            context.abort(self.code, self.message)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        context.abort_with_status(rpc_status.to_status(status))


StreamItem = event_pb2.Event | worker_pb2.Heartbeat | Refuse | float | None
"""What a stream does next: sends, is refused, waits for seconds; None: ends."""


class FakeWorker(worker_pb2_grpc.WorkerServiceServicer):
    """The API.

    Attributes:
        target: Where it is reached.
        calls: Names and requests of the calls so far.
        sessions: The sessions that exist.
        refusals: How calls of a method are refused.
        delay: Seconds that sends take.
        pages: Answers of ListSessions, one a call; without any, all sessions in one.
        pairing: Answer of GetPairing.
        streams: What the streams do, one list a stream; a stream beyond the last one stays silent.
        health: The health service.
    """

    def __init__(self) -> None:
        self.target = ""
        self.calls: list[tuple[str, Any]] = []
        self.sessions: dict[str, session_pb2.Session] = {}
        self.refusals: dict[str, Refuse] = {}
        self.delay = 0.0
        self.pages: list[worker_pb2.ListSessionsResponse] = []
        self.pairing = session_pb2.Pairing(qr="https://example/qr")
        self.streams: queue.SimpleQueue[list[StreamItem]] = queue.SimpleQueue()
        self.health = health.HealthServicer()

    def requests(self, method: str) -> list[Any]:
        """Return the requests of a method's calls."""
        return [request for name, request in self.calls if name == method]

    def add_session(
        self,
        session: str,
        state: session_pb2.SessionState.ValueType = session_pb2.SESSION_STATE_CREATED,
        *,
        phone: str = "",
    ) -> session_pb2.Session:
        """Add a session, linked when it has a phone number."""
        added = session_pb2.Session(id=session, status=session_pb2.SessionStatus(state=state))
        added.create_time.GetCurrentTime()
        added.status.since.GetCurrentTime()
        if phone:
            jid = f"{phone.lstrip('+')}:1@s.whatsapp.net"
            added.account.CopyFrom(session_pb2.Account(phone_number=phone, jid=jid, push_name="Budi"))
        self.sessions[session] = added
        return added

    def CreateSession(self, request: Any, context: Any) -> Any:
        """Add a session, unless it exists."""
        self._called("CreateSession", request, context)
        if request.session_id in self.sessions:
            Refuse(grpc.StatusCode.ALREADY_EXISTS, "SESSION_EXISTS").abort(context)
        return worker_pb2.CreateSessionResponse(session=self.add_session(request.session_id or "made-up"))

    def GetSession(self, request: Any, context: Any) -> Any:
        """Return a session."""
        self._called("GetSession", request, context)
        return worker_pb2.GetSessionResponse(session=self._find(request, context))

    def ListSessions(self, request: Any, context: Any) -> Any:
        """Return the next page."""
        self._called("ListSessions", request, context)
        if self.pages:
            return self.pages.pop(0)
        return worker_pb2.ListSessionsResponse(sessions=self.sessions.values())

    def ConnectSession(self, request: Any, context: Any) -> Any:
        """Return the session as it is."""
        self._called("ConnectSession", request, context)
        return worker_pb2.ConnectSessionResponse(session=self._find(request, context))

    def DisconnectSession(self, request: Any, context: Any) -> Any:
        """Disconnect a session."""
        self._called("DisconnectSession", request, context)
        found = self._find(request, context)
        found.status.state = session_pb2.SESSION_STATE_DISCONNECTED
        return worker_pb2.DisconnectSessionResponse(session=found)

    def LogoutSession(self, request: Any, context: Any) -> Any:
        """Log a session out."""
        self._called("LogoutSession", request, context)
        found = self._find(request, context)
        found.status.state = session_pb2.SESSION_STATE_LOGGED_OUT
        return worker_pb2.LogoutSessionResponse(session=found)

    def DeleteSession(self, request: Any, context: Any) -> Any:
        """Delete a session."""
        self._called("DeleteSession", request, context)
        self.sessions.pop(self._find(request, context).id)
        return worker_pb2.DeleteSessionResponse()

    def GetPairing(self, request: Any, context: Any) -> Any:
        """Return the code."""
        self._called("GetPairing", request, context)
        return worker_pb2.GetPairingResponse(pairing=self.pairing)

    def SendText(self, request: Any, context: Any) -> Any:
        """Say that it was sent."""
        self._called("SendText", request, context)
        time.sleep(self.delay)
        return worker_pb2.SendTextResponse(message=_sent(request))

    def SendImage(self, request: Any, context: Any) -> Any:
        """Say that it was sent."""
        self._called("SendImage", request, context)
        return worker_pb2.SendImageResponse(message=_sent(request))

    def SessionEvents(self, request: Any, context: Any) -> Iterator[Any]:
        """Do what the next stream does."""
        self._called("SessionEvents", request, context)
        try:
            items = self.streams.get_nowait()
        except queue.Empty:
            items = [60.0]
        for item in items:
            match item:
                case event_pb2.Event():
                    yield worker_pb2.SessionEventsResponse(event=item)
                case worker_pb2.Heartbeat():
                    yield worker_pb2.SessionEventsResponse(heartbeat=item)
                case Refuse():
                    item.abort(context)
                case None:
                    return
                case seconds:
                    ends = time.monotonic() + seconds
                    while context.is_active() and time.monotonic() < ends:
                        time.sleep(0.01)

    def AcknowledgeEvents(self, request: Any, context: Any) -> Any:
        """Store nothing."""
        self._called("AcknowledgeEvents", request, context)
        return worker_pb2.AcknowledgeEventsResponse(cursor=request.cursor)

    def _called(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        self.calls.append((method, request))
        if method in self.refusals:
            self.refusals[method].abort(context)

    def _find(self, request: Any, context: grpc.ServicerContext) -> session_pb2.Session:
        if request.session_id not in self.sessions:
            Refuse(grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND", message="there is no session with this id").abort(
                context
            )
        return self.sessions[request.session_id]


def _sent(request: Any) -> worker_pb2.SentMessage:
    return worker_pb2.SentMessage(
        id="3EB0C0FFEE",
        session_id=request.session_id,
        chat="6281300000001@s.whatsapp.net",
        status=event_pb2.MESSAGE_STATUS_SERVER_ACK,
    )


@contextmanager
def fake_worker() -> Generator[FakeWorker, None, None]:
    """Serve a fake worker on a free port."""
    worker = FakeWorker()  # type: ignore[abstract] # what it does not play answers UNIMPLEMENTED
    with ThreadPoolExecutor(max_workers=8) as threads:
        server = grpc.server(threads)
        worker_pb2_grpc.add_WorkerServiceServicer_to_server(worker, server)
        health_pb2_grpc.add_HealthServicer_to_server(worker.health, server)
        worker.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield worker
        finally:
            server.stop(None).wait()
