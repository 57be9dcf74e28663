"""The server's own life: listening, health, limits, draining."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from gateway_worker.domain.errors import DrainingError
from gateway_worker.domain.ids import SessionId, TenantId
from gateway_worker.service.server import GatewayServer, ListenError, ServerConfig
from tests.support.edge import failure_of, health_of, serving, stub_of, until, watch_health
from tests.support.scripted_core import CoreCall, ScriptedCore, as_core
from wagateway.worker.v1 import event_pb2, worker_pb2

WORKER = "wagateway.worker.v1.WorkerService"
GET = worker_pb2.GetSessionRequest(session_id="one")
DISCONNECT = worker_pb2.DisconnectSessionRequest(session_id="one")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_listens_on_loopback_only_unless_told_otherwise() -> None:
    """Without authentication, nobody else may reach it by default."""
    assert ServerConfig().listen.startswith("127.0.0.1:")
    async with serving() as edge:
        assert edge.server.address == f"127.0.0.1:{edge.server.port}"
        assert edge.server.port > 0


async def test_listens_on_ipv6() -> None:
    """An IPv6 host is written in brackets, and the address told can be dialled as it is."""
    core = ScriptedCore()
    async with (
        GatewayServer(as_core(core), ServerConfig(listen="[::1]:0")) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        assert (await stub_of(channel).GetSession(GET, timeout=5)).session.id == "one"


async def test_a_taken_port_is_refused_by_name() -> None:
    """A second server on the port must not quietly share its calls."""
    async with serving() as edge:
        with pytest.raises(ListenError, match=rf"cannot listen on {edge.server.address}: Address already in use"):
            await GatewayServer(as_core(ScriptedCore()), ServerConfig(listen=edge.server.address)).__aenter__()
        assert (await edge.stub.GetSession(GET, timeout=5)).session.id == "one"


async def test_a_port_taken_by_something_else_is_refused() -> None:
    """The reason is named for any other program too."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ListenError, match="Address already in use"):
            await GatewayServer(as_core(ScriptedCore()), ServerConfig(listen=address)).__aenter__()


@pytest.mark.parametrize(
    "listen",
    [
        "",
        ":5",
        "50051",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "a/b:1",
        "u@h:1",
        "[::1:1",
        "h:1?",
    ],
)
async def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    """The operator learns what is accepted."""
    with pytest.raises(
        ListenError, match=r"is not an address to listen on: HOST:PORT is, for example 127\.0\.0\.1:50051"
    ):
        await GatewayServer(as_core(ScriptedCore()), ServerConfig(listen=listen)).__aenter__()


async def test_an_address_of_another_machine_is_refused() -> None:
    """The operating system's own reason is told."""
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:5: Cannot assign requested address"):
        await GatewayServer(as_core(ScriptedCore()), ServerConfig(listen="192.0.2.1:5")).__aenter__()


async def test_health_tells_alive_from_ready() -> None:
    """The empty name is liveness, the name of a service is readiness, any other is NOT_FOUND."""
    async with serving() as edge:
        assert [await health_of(edge.channel, ""), await health_of(edge.channel, WORKER)] == [SERVING, NOT_SERVING]
        await edge.server.set_ready(ready=True)
        assert [await health_of(edge.channel, ""), await health_of(edge.channel, WORKER)] == [SERVING, SERVING]
        await edge.server.set_ready(ready=False)
        assert [await health_of(edge.channel, ""), await health_of(edge.channel, WORKER)] == [SERVING, NOT_SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(edge.channel, "wagateway.worker.v1.Nonsense")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("ready", [False, True])
async def test_health_of_everything_can_be_listed(ready: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """By the method that newer clients ask, and with the same answers as one by one."""
    async with serving() as edge:
        await edge.server.set_ready(ready=ready)
        list_all: grpc.aio.UnaryUnaryMultiCallable[bytes, Any] = edge.channel.unary_unary(
            "/grpc.health.v1.Health/List",
            request_serializer=bytes,
            response_deserializer=GetMessageClass(
                descriptor_pool.Default().FindMessageTypeByName("grpc.health.v1.HealthListResponse")
            ).FromString,
        )
        listed = await list_all(b"", timeout=5)
        assert {name: answer.status for name, answer in listed.statuses.items()} == {
            name: await health_of(edge.channel, name) for name in ("", WORKER)
        }


async def test_health_can_be_watched() -> None:
    """Load balancers see readiness come and go without polling."""
    async with serving() as edge:
        watch = watch_health(edge.channel, WORKER)
        assert await watch.read() == health_pb2.HealthCheckResponse(status=NOT_SERVING)
        await edge.server.set_ready(ready=True)
        assert await watch.read() == health_pb2.HealthCheckResponse(status=SERVING)
        await edge.server.begin_drain()
        assert await watch.read() == health_pb2.HealthCheckResponse(status=NOT_SERVING)
        watch.cancel()


async def test_draining_is_final_and_everything_is_still_served() -> None:
    """From the first step of the drain no new traffic is invited, and none is refused."""
    async with serving() as edge:
        await edge.server.set_ready(ready=True)
        await edge.server.begin_drain()
        await edge.server.set_ready(ready=True)
        assert [await health_of(edge.channel, ""), await health_of(edge.channel, WORKER)] == [SERVING, NOT_SERVING]
        assert (await edge.stub.GetSession(GET, timeout=5)).session.id == "one"


async def test_the_documented_drain_order() -> None:
    """Health first, then streams end with a cursor, then no more calls, those under way finish, then nothing runs."""
    end_streams, finish = asyncio.Event(), asyncio.Event()
    heartbeat = worker_pb2.SessionEventsResponse(heartbeat=worker_pb2.Heartbeat(cursor="p7"))

    class Core(ScriptedCore):
        async def events(
            self, tenant: TenantId, request: worker_pb2.SessionEventsRequest
        ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
            del tenant, request
            yield worker_pb2.SessionEventsResponse(event=event_pb2.Event(cursor="p7"))
            await end_streams.wait()
            yield heartbeat
            raise DrainingError

    core = Core(hold=finish)
    async with serving(core) as edge:
        await edge.server.set_ready(ready=True)
        stream = edge.stub.SessionEvents(worker_pb2.SessionEventsRequest())
        first = await stream.read()
        assert isinstance(first, worker_pb2.SessionEventsResponse)
        under_way = asyncio.ensure_future(edge.stub.DisconnectSession(DISCONNECT, timeout=10))
        await until(lambda: len(core.calls) == 1)

        await edge.server.begin_drain()
        assert await health_of(edge.channel, WORKER) == NOT_SERVING

        end_streams.set()
        assert await stream.read() == heartbeat
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert failure_of(caught.value).reason == "WORKER_DRAINING"

        stopping = asyncio.create_task(edge.server.stop(grace=5))
        await asyncio.sleep(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.DisconnectSession(DISCONNECT, timeout=5)
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "WORKER_DRAINING")
        assert failure.retry_after == 1.0
        assert await health_of(edge.channel, "") == SERVING
        assert not stopping.done()

        finish.set()
        assert (await under_way).session.id == "one"
        await asyncio.wait_for(stopping, 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.GetSession(GET, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert core.cancelled == []


async def test_stop_cancels_what_outlives_the_grace_and_waits_until_it_ended() -> None:
    """The stop of gRPC itself returns before cancelled handlers have run their `finally`; this one does not."""
    unwound = asyncio.Event()

    class Core(ScriptedCore):
        async def delete_session(self, tenant: TenantId, session: SessionId) -> None:
            self.calls.append(CoreCall("delete_session", tenant, (session,)))
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.2)
                unwound.set()

    core = Core(hold=asyncio.Event())
    async with serving(core) as edge:
        calls = [
            asyncio.ensure_future(edge.stub.DeleteSession(worker_pb2.DeleteSessionRequest(session_id="one"))),
            asyncio.ensure_future(edge.stub.DisconnectSession(DISCONNECT)),
        ]
        stream = edge.stub.SessionEvents(worker_pb2.SessionEventsRequest())
        reading = asyncio.ensure_future(stream.read())
        await until(lambda: len(core.calls) == 3)
        started = time.monotonic()
        await edge.server.stop(grace=0.1)
        assert 0.09 < time.monotonic() - started < 3
        assert unwound.is_set()
        assert sorted(core.cancelled) == ["disconnect_session", "events"]
        for call in (*calls, reading):
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await call


async def test_an_open_health_watch_does_not_use_up_the_grace() -> None:
    """Streams that never end by themselves are not waited for."""
    async with serving() as edge:
        watch = watch_health(edge.channel, "")
        await watch.read()
        started = time.monotonic()
        await edge.server.stop(grace=30)
        assert time.monotonic() - started < 3


async def test_stop_twice_and_leaving_the_context_are_harmless() -> None:
    """The composition root may stop it early and leave the context as usual."""
    async with serving() as edge:
        await edge.server.stop(grace=1)
        await edge.server.stop(grace=1)


async def test_leaving_the_context_in_a_failure_stops_at_once() -> None:
    """A failure in a later part of the start-up is not hidden and leaves nothing behind."""
    core = ScriptedCore(hold=asyncio.Event())

    async def fail() -> None:
        async with GatewayServer(as_core(core), ServerConfig(listen="127.0.0.1:0")) as server:
            async with grpc.aio.insecure_channel(server.address) as channel:
                call = asyncio.ensure_future(stub_of(channel).DisconnectSession(DISCONNECT))
                await until(lambda: len(core.calls) == 1)
                call.cancel()
            raise RuntimeError("start-up of the next part failed")

    with pytest.raises(RuntimeError, match="start-up of the next part failed"):
        await fail()
    assert core.cancelled == ["disconnect_session"]


async def test_the_port_is_free_again_after_the_stop() -> None:
    """A restart on the same port works at once."""
    async with serving() as edge:
        address = edge.server.address
        await edge.server.stop(grace=0)
        async with GatewayServer(as_core(ScriptedCore()), ServerConfig(listen=address)) as again:
            assert again.address == address


async def test_too_many_calls_are_refused_with_a_reason_and_health_still_answers() -> None:
    """An overloaded worker says so and does not look dead."""
    core = ScriptedCore(hold=asyncio.Event())
    async with serving(core, ServerConfig(max_calls=2)) as edge:
        calls = [asyncio.ensure_future(edge.stub.DisconnectSession(DISCONNECT)) for _ in range(2)]
        await until(lambda: len(core.calls) == 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.GetSession(GET, timeout=5)
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert failure.retry_after == 1.0
        assert await health_of(edge.channel, "") == SERVING
        assert core.hold is not None
        core.hold.set()
        await asyncio.gather(*calls)
        assert (await edge.stub.GetSession(GET, timeout=5)).session.id == "one"


async def test_a_request_beyond_the_limit_is_refused_by_grpc() -> None:
    """It is not even read into memory."""
    async with serving(config=ServerConfig(max_message_bytes=4096)) as edge:
        request = worker_pb2.CreateSessionRequest(labels={"key": "x" * 5000})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.CreateSession(request, timeout=5)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert edge.core.calls == []


async def test_an_image_of_16_mib_fits() -> None:
    """The largest image that the contract allows is within the limits of the transport."""
    request = worker_pb2.SendImageRequest(session_id="one", to="+6287733760363")
    request.image.source.inline = bytes(16 * 1024 * 1024)
    async with serving() as edge:
        assert (await edge.stub.SendImage(request, timeout=20)).message.id == "3EB0"
