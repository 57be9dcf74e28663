"""Every RPC of WorkerService reaches the core as what it means, and the core's answer reaches the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from gateway_worker.domain.ids import DEFAULT_TENANT, TenantId
from gateway_worker.service.interceptors import Context, Handler, Method
from gateway_worker.service.principal import Principal, act_as
from gateway_worker.sessions.api import SendCommand
from tests.support.edge import Edge, failure_of, serving
from tests.support.scripted_core import CoreCall, ScriptedCore
from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2, worker_pb2

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    """A server with an obliging core."""
    async with serving() as edge:
        yield edge


CREATE = worker_pb2.CreateSessionRequest(session_id="one", labels={"team": "sales"})
LIST = worker_pb2.ListSessionsRequest(page_size=5, states=[session_pb2.SESSION_STATE_CONNECTED])
UPDATE = worker_pb2.UpdateSessionRequest(
    session_id="one",
    settings=session_pb2.SessionSettings(default_region="DE"),
    update_mask=FieldMask(paths=["settings.default_region"]),
)

UNARY: list[tuple[str, Message, tuple[str, tuple[object, ...]], Message]] = [
    (
        "CreateSession",
        CREATE,
        ("create_session", (CREATE,)),
        worker_pb2.CreateSessionResponse(session=session_pb2.Session(id="one", labels={"team": "sales"})),
    ),
    (
        "GetSession",
        worker_pb2.GetSessionRequest(session_id="one"),
        ("get_session", ("one",)),
        worker_pb2.GetSessionResponse(session=session_pb2.Session(id="one")),
    ),
    (
        "ListSessions",
        LIST,
        ("list_sessions", (LIST,)),
        worker_pb2.ListSessionsResponse(sessions=[session_pb2.Session(id="one")], next_page_token="two"),  # noqa: S106
    ),
    (
        "UpdateSession",
        UPDATE,
        ("update_session", (UPDATE,)),
        worker_pb2.UpdateSessionResponse(
            session=session_pb2.Session(id="one", settings=session_pb2.SessionSettings(default_region="DE"))
        ),
    ),
    (
        "ConnectSession",
        worker_pb2.ConnectSessionRequest(session_id="one", pairing_phone_number="+6287733760363"),
        ("connect_session", ("one", "+6287733760363")),
        worker_pb2.ConnectSessionResponse(session=session_pb2.Session(id="one", connection_wanted=True)),
    ),
    (
        "DisconnectSession",
        worker_pb2.DisconnectSessionRequest(session_id="one"),
        ("disconnect_session", ("one",)),
        worker_pb2.DisconnectSessionResponse(session=session_pb2.Session(id="one")),
    ),
    (
        "LogoutSession",
        worker_pb2.LogoutSessionRequest(session_id="one"),
        ("logout_session", ("one",)),
        worker_pb2.LogoutSessionResponse(session=session_pb2.Session(id="one")),
    ),
    (
        "DeleteSession",
        worker_pb2.DeleteSessionRequest(session_id="one"),
        ("delete_session", ("one",)),
        worker_pb2.DeleteSessionResponse(),
    ),
    (
        "AcknowledgeEvents",
        worker_pb2.AcknowledgeEventsRequest(consumer="crm", cursor="p5"),
        ("acknowledge_events", ("crm", "p5")),
        worker_pb2.AcknowledgeEventsResponse(cursor="p5"),
    ),
]


@pytest.mark.parametrize(("rpc", "request_", "reached", "response"), UNARY, ids=[case[0] for case in UNARY])
async def test_unary_call(
    edge: Edge, rpc: str, request_: Message, reached: tuple[str, tuple[object, ...]], response: Message
) -> None:
    """The core is called once with what the request says, and its answer is the response."""
    assert await getattr(edge.stub, rpc)(request_, timeout=5) == response
    method, arguments = reached
    assert edge.core.calls == [CoreCall(method, DEFAULT_TENANT, arguments)]


async def test_get_pairing_tells_the_core_how_long_the_client_waits(edge: Edge) -> None:
    """The core can answer before the client's deadline."""
    response = await edge.stub.GetPairing(worker_pb2.GetPairingRequest(session_id="one"), timeout=7)
    assert response.pairing.qr == "2@code"
    (call,) = edge.core.calls
    session, time_left = call.arguments
    assert (call.method, session) == ("pairing", "one")
    assert isinstance(time_left, float)
    assert 5 < time_left < 7.5  # gRPC rounds up


OPTIONS = content_pb2.SendOptions(
    idempotency_key="order-17", quoted=content_pb2.QuotedMessage(message_id="3EB1"), mentions=["+4915112345678"]
)
TEXT = content_pb2.TextContent(text="Halo *dunia* \N{EARTH GLOBE ASIA-AUSTRALIA}")
IMAGE = content_pb2.ImageContent(source=content_pb2.MediaSource(inline=PNG), caption="peta", view_once=True)
SENDS: list[tuple[str, Message, content_pb2.Content]] = [
    (
        "SendText",
        worker_pb2.SendTextRequest(session_id="one", to="0877-3376-0363", text=TEXT, options=OPTIONS),
        content_pb2.Content(text=TEXT),
    ),
    (
        "SendImage",
        worker_pb2.SendImageRequest(session_id="one", to="0877-3376-0363", image=IMAGE, options=OPTIONS),
        content_pb2.Content(image=IMAGE),
    ),
    (
        "SendMessage",
        worker_pb2.SendMessageRequest(
            session_id="one", to="0877-3376-0363", content=content_pb2.Content(image=IMAGE), options=OPTIONS
        ),
        content_pb2.Content(image=IMAGE),
    ),
]


@pytest.mark.parametrize(("rpc", "request_", "content"), SENDS, ids=[case[0] for case in SENDS])
async def test_every_send_is_one_command(edge: Edge, rpc: str, request_: Message, content: content_pb2.Content) -> None:
    """SendText, SendImage and SendMessage are the same command with the same content and options."""
    response = await getattr(edge.stub, rpc)(request_, timeout=7)
    assert response.message == worker_pb2.SentMessage(
        id="3EB0", session_id="one", chat="0877-3376-0363", status=event_pb2.MESSAGE_STATUS_SERVER_ACK
    )
    (call,) = edge.core.calls
    (command,) = call.arguments
    assert isinstance(command, SendCommand)
    assert (call.method, call.tenant, command.session, command.to) == ("send", "default", "one", "0877-3376-0363")
    assert command.content == content
    assert command.options == OPTIONS
    assert command.time_left is not None
    assert 5 < command.time_left < 7.5


async def test_session_events_are_delivered_in_order_until_the_core_ends() -> None:
    """A stream is what the core yields, no more and no less."""
    responses = [
        worker_pb2.SessionEventsResponse(event=event_pb2.Event(session_id="one", sequence=number, cursor=f"p{number}"))
        for number in range(1, 101)
    ]
    core = ScriptedCore(responses=lambda: responses)
    request = worker_pb2.SessionEventsRequest(session_ids=["one"], kinds=[event_pb2.EVENT_KIND_MESSAGE], cursor="p0")
    async with serving(core) as edge:
        assert [response async for response in edge.stub.SessionEvents(request)] == responses
    assert core.calls == [CoreCall("events", DEFAULT_TENANT, (request,))]
    assert core.streams_closed == 1


class _TenantFromMetadata:
    """What an authenticating interceptor does: settles the principal from what the caller presents."""

    def intercept(self, method: Method, proceed: Handler) -> Handler:
        async def handle(request: Any, context: Context) -> Message | None:
            presented = dict(context.invocation_metadata() or ())
            act_as(Principal(TenantId(str(presented[f"tenant-for-{method.name.lower()}"]))))
            return await proceed(request, context)

        return handle


async def test_the_tenant_is_the_principals_on_unary_calls_and_streams() -> None:
    """An interceptor that authenticates replaces the default one, and nothing else changes."""
    async with serving(authentication=_TenantFromMetadata()) as edge:
        for tenant in ("acme", "globex"):
            await edge.stub.GetSession(
                worker_pb2.GetSessionRequest(session_id="one"), metadata=[("tenant-for-getsession", tenant)]
            )
            stream = edge.stub.SessionEvents(
                worker_pb2.SessionEventsRequest(), metadata=[("tenant-for-sessionevents", tenant)]
            )
            assert [response async for response in stream] == []
        assert [call.tenant for call in edge.core.calls] == ["acme", "acme", "globex", "globex"]


class _NobodyVouches:
    """An interceptor that settles nothing."""

    def intercept(self, method: Method, proceed: Handler) -> Handler:
        del method
        return proceed


async def test_a_call_without_a_principal_never_reaches_the_core() -> None:
    """Forgetting to settle the caller fails closed."""
    async with serving(authentication=_NobodyVouches()) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.GetSession(worker_pb2.GetSessionRequest(session_id="one"))
        assert failure_of(caught.value).reason == "INTERNAL"
        assert edge.core.calls == []


def test_every_method_of_the_contract_is_called_here() -> None:
    """The tables above leave out no RPC that a later version adds."""
    methods = {method.name for method in worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods}
    called = {case[0] for case in UNARY} | {case[0] for case in SENDS} | {"GetPairing", "SessionEvents"}
    assert methods == called
