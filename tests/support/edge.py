"""The real gRPC edge on loopback, with a channel to it, and what tests ask about errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from gateway_worker.service.interceptors import Interceptor
from gateway_worker.service.server import GatewayServer, ServerConfig
from tests.support.scripted_core import ScriptedCore, as_core
from wagateway.worker.v1 import worker_pb2_grpc


@dataclass(frozen=True, slots=True)
class Edge:
    """A running server, its core, and a client."""

    server: GatewayServer
    core: ScriptedCore
    channel: grpc.aio.Channel
    stub: worker_pb2_grpc.WorkerServiceAsyncStub


@asynccontextmanager
async def serving(
    core: ScriptedCore | None = None,
    config: ServerConfig | None = None,
    *,
    authentication: Interceptor | None = None,
    channel_options: Sequence[tuple[str, int]] = (),
) -> AsyncIterator[Edge]:
    """Serve ``core`` on a free port; afterwards no task may be left over."""
    before = asyncio.all_tasks()
    core = core or ScriptedCore()
    config = replace(config or ServerConfig(), listen="127.0.0.1:0")
    async with (
        GatewayServer(as_core(core), config, authentication=authentication) as server,
        grpc.aio.insecure_channel(server.address, options=list(channel_options)) as channel,
    ):
        yield Edge(server, core, channel, stub_of(channel))
    await until(lambda: not asyncio.all_tasks() - before - {asyncio.current_task()})


def stub_of(channel: grpc.aio.Channel) -> worker_pb2_grpc.WorkerServiceAsyncStub:
    """A client of WorkerService."""
    return worker_pb2_grpc.WorkerServiceStub(channel)


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    """The health of a service; the empty name is the whole server's."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    response = await check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return response.status


def watch_health(
    channel: grpc.aio.Channel, service: str
) -> grpc.aio.UnaryStreamCall[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]:
    """Follow the health of a service."""
    watch: grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return watch(health_pb2.HealthCheckRequest(service=service))


async def until(condition: Callable[[], bool], *, within: float = 5.0) -> None:
    """Wait until ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client can read out of an error."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    fields: dict[str, str] = field(default_factory=dict)
    details: int = 0


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    """Read the details of an error as any client does."""
    failure = Failure(error.code(), error.details() or "")
    call: Any = error  # the stubs ask for a whole Call, where code, details and metadata are enough
    status = rpc_status.from_call(call)
    if status is None:
        return failure
    failure = replace(failure, details=len(status.details))
    info, retry, bad = ErrorInfo(), RetryInfo(), BadRequest()
    for detail in status.details:
        if detail.Unpack(info):
            failure = replace(failure, reason=info.reason, domain=info.domain, metadata=dict(info.metadata))
        elif detail.Unpack(retry):
            failure = replace(failure, retry_after=retry.retry_delay.ToMilliseconds() / 1000)
        elif detail.Unpack(bad):
            failure = replace(failure, fields={item.field: item.description for item in bad.field_violations})
    return failure
