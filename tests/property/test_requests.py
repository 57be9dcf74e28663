"""No request, however odd, gets anything but an answer or INVALID_ARGUMENT from the edge and an obliging core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.edge import Edge, Failure, failure_of, serving
from tests.support.messages import MARK, messages
from wagateway.worker.v1 import worker_pb2

METHODS = list(worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods)
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True, slots=True)
class Runner:
    """A server and its loop, for tests that are functions."""

    loop: asyncio.Runner
    edge: Edge

    def call(self, method: MethodDescriptor, body: bytes) -> Failure | None:
        """Send ``body`` to a method; the failure, or None when it was served."""
        return self.loop.run(self._call(method, body))

    async def _call(self, method: MethodDescriptor, body: bytes) -> Failure | None:
        path = f"/{method.containing_service.full_name}/{method.name}"
        kind = self.edge.channel.unary_stream if method.server_streaming else self.edge.channel.unary_unary
        connect: Any = kind(path, request_serializer=bytes)
        try:
            if method.server_streaming:
                assert [item async for item in connect(body, timeout=10)] == []
            else:
                GetMessageClass(method.output_type).FromString(await connect(body, timeout=10))
        except grpc.aio.AioRpcError as error:
            return failure_of(error)
        return None


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One server for all examples."""
    with asyncio.Runner() as loop:
        stack = AsyncExitStack()
        edge = loop.run(stack.enter_async_context(serving()))
        yield Runner(loop, edge)
        loop.run(stack.aclose())


@pytest.mark.parametrize("method", METHODS, ids=[method.name for method in METHODS])
@EXAMPLES
@given(data=st.data())
def test_any_message_is_served_or_refused(runner: Runner, method: MethodDescriptor, data: st.DataObject) -> None:
    """And a refusal names fields, and never repeats what the request said."""
    request: Message = data.draw(messages(method.input_type))
    failure = runner.call(method, request.SerializeToString())
    event("served" if failure is None else "refused")
    if failure is not None:
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        assert failure.fields
        assert all(failure.fields.values())
        assert MARK not in repr(failure)
        assert MARK.encode("unicode_escape").decode() not in repr(failure)


@pytest.mark.parametrize("method", METHODS, ids=[method.name for method in METHODS])
@EXAMPLES
@given(body=st.binary(max_size=64))
def test_any_bytes_are_served_or_refused(runner: Runner, method: MethodDescriptor, body: bytes) -> None:
    """Also what does not parse."""
    failure = runner.call(method, body)
    if failure is not None:
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
