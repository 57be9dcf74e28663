"""Deadlines and cancellation: both reach the core, and no unary call goes on for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from gateway_worker.domain.errors import FateUnknownError
from gateway_worker.service.deadlines import DefaultDeadline
from gateway_worker.service.server import ServerConfig
from gateway_worker.sessions.api import SendCommand
from tests.support.edge import failure_of, serving, until
from tests.support.scripted_core import ScriptedCore
from wagateway.worker.v1 import content_pb2, event_pb2, worker_pb2

SHORT = ServerConfig(deadline=DefaultDeadline(unary=0.1, send=0.8))
DISCONNECT = worker_pb2.DisconnectSessionRequest(session_id="one")
TEXT = content_pb2.TextContent(text="hello")
SENDS: list[tuple[str, Message]] = [
    ("SendText", worker_pb2.SendTextRequest(session_id="one", to="1", text=TEXT)),
    (
        "SendImage",
        worker_pb2.SendImageRequest(
            session_id="one",
            to="1",
            image=content_pb2.ImageContent(source=content_pb2.MediaSource(inline=b"png")),
        ),
    ),
    (
        "SendMessage",
        worker_pb2.SendMessageRequest(session_id="one", to="1", content=content_pb2.Content(text=TEXT)),
    ),
]


def test_the_defaults_leave_room_for_whatsapps_acknowledgement() -> None:
    """The client library waits up to 75 s for it, and the core must still be able to answer."""
    assert DefaultDeadline() == DefaultDeadline(unary=30.0, send=90.0)


def test_every_rpc_that_sends_has_the_deadline_of_a_send() -> None:
    """The rule goes by name; an RPC that answers with a sent message must be under it."""
    methods = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods
    sent = worker_pb2.SentMessage.DESCRIPTOR.full_name
    sends = [
        method.name
        for method in methods
        for field in method.output_type.fields
        if field.message_type is not None and field.message_type.full_name == sent
    ]
    assert sends == [method.name for method in methods if method.name.startswith("Send")]


async def test_a_call_without_a_deadline_ends_at_the_default() -> None:
    """The core is cancelled, and the status says what happened, unlike the one that gRPC makes."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core, SHORT) as edge:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.DisconnectSession(DISCONNECT)
        assert 0.09 < time.monotonic() - started < 0.7
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert core.cancelled == ["disconnect_session"]


@pytest.mark.parametrize(("rpc", "request_"), SENDS, ids=[case[0] for case in SENDS])
async def test_a_send_without_a_deadline_gets_a_longer_one(rpc: str, request_: Message) -> None:
    """And the core knows it, so that it can refuse a wait that would be too long."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core, SHORT) as edge:
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(edge.stub, rpc)(request_)
        assert 0.75 < time.monotonic() - started < 3
        assert failure_of(caught.value).reason == "DEADLINE_EXCEEDED"
        (command,) = core.calls[0].arguments
        assert isinstance(command, SendCommand)
        assert command.time_left is not None
        assert 0.4 < command.time_left <= 0.8


async def test_what_the_core_says_of_a_send_at_its_deadline_is_what_the_client_hears() -> None:
    """That a send's fate is unknown says more than that time ran out."""
    core = ScriptedCore(hold=asyncio.Event(), on_cancel=FateUnknownError(metadata={"message_id": "3EB0"}))
    async with serving(core, SHORT) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.SendText(SENDS[0][1])  # type: ignore[arg-type]
        failure = failure_of(caught.value)
        assert (failure.reason, failure.metadata) == ("SEND_FATE_UNKNOWN", {"message_id": "3EB0"})


async def test_a_clients_longer_deadline_is_respected() -> None:
    """The default is for clients that set none, not a limit."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core, SHORT) as edge:
        call = asyncio.ensure_future(edge.stub.DisconnectSession(DISCONNECT, timeout=10))
        await asyncio.sleep(0.3)
        assert core.hold is not None
        core.hold.set()
        assert (await call).session.id == "one"
    assert core.cancelled == []


async def test_a_clients_deadline_cancels_the_core() -> None:
    """Work that nobody waits for is not gone on with."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.DisconnectSession(DISCONNECT, timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: core.cancelled == ["disconnect_session"], within=2)


async def test_a_cancelled_call_is_cancelled_in_the_core() -> None:
    """By the client's cancel, and without waiting for anything."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core) as edge:
        call = edge.stub.SendText(SENDS[0][1])  # type: ignore[arg-type]
        await until(lambda: len(core.calls) == 1)
        call.cancel()
        await until(lambda: core.cancelled == ["send"], within=1)


async def test_a_lost_connection_cancels_the_core() -> None:
    """A client that goes away without a word counts as one that cancelled."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core) as edge:
        call = asyncio.ensure_future(edge.stub.DisconnectSession(DISCONNECT))
        await until(lambda: len(core.calls) == 1)
        await edge.channel.close()
        await until(lambda: core.cancelled == ["disconnect_session"], within=1)
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_stream_has_no_default_deadline() -> None:
    """It may be silent for longer than any call takes."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core, SHORT) as edge:
        stream: Any = edge.stub.SessionEvents(worker_pb2.SessionEventsRequest())
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.6)
        assert not reading.done()
        stream.cancel()
        await until(lambda: core.cancelled == ["events"] and core.streams_closed == 1, within=1)
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_a_timeout_inside_the_core_is_not_the_calls_deadline() -> None:
    """A TimeoutError that a bug lets through must not tell the client that its send may have gone out."""
    async with serving(ScriptedCore(error=TimeoutError()), SHORT) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.DisconnectSession(DISCONNECT)
        assert failure_of(caught.value).reason == "INTERNAL"


async def test_a_stream_that_the_client_cancels_while_it_is_written_to_is_closed() -> None:
    """The iterator is suspended in the middle then, and would else be left to the garbage collector."""
    response = worker_pb2.SessionEventsResponse(event=event_pb2.Event(cursor="p" * 1000))
    core = ScriptedCore(responses=lambda: [response] * 100_000)
    async with serving(core, channel_options=[("grpc.http2.bdp_probe", 0)]) as edge:
        stream = edge.stub.SessionEvents(worker_pb2.SessionEventsRequest())
        await stream.read()
        await asyncio.sleep(0.2)
        stream.cancel()
        await until(lambda: core.streams_closed == 1, within=1)
    assert core.pulled < 100_000
