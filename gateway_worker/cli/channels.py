"""Connections to the worker's API and to the simulator's control API."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
from grpc import aio

from gateway_worker.cli.exits import UnreachableError
from wagateway.worker.v1 import worker_pb2_grpc

CONNECT_TIMEOUT: Final = 5.0
"""Seconds after which a server that neither takes nor refuses the connection counts as unreachable."""

CALL_TIMEOUT: Final = 20.0
"""Seconds for a call that only touches the worker's own state."""

# gRPC's core writes lines of its own to stderr when a server goes away; the command says it in its own words.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_OPTIONS: Final = (
    # Received events may carry previews and whole messages: the worker bounds them, not the client.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A gateway is not reached through the web proxy that HTTP_PROXY names.
    ("grpc.enable_http_proxy", 0),
)


@asynccontextmanager
async def connect(target: str, *, what: str, hint: str) -> AsyncIterator[aio.Channel]:
    """Connect to a gRPC server.

    Args:
        target: Its address, ``host:port`` or another name that gRPC knows (``unix:/path``).
        what: What it is, for the error: "the worker".
        hint: What to do when it cannot be reached.

    Raises:
        UnreachableError: It refuses the connection or does not answer.
    """
    async with aio.insecure_channel(target, options=_OPTIONS) as channel:
        if not await _is_ready(channel):
            raise UnreachableError(f"cannot reach {what} at {target}: is it running?", hint=hint)
        yield channel


@asynccontextmanager
async def worker_channel(target: str) -> AsyncIterator[aio.Channel]:
    """Connect to the worker's API. Raises UnreachableError."""
    async with connect(
        target,
        what="the worker",
        hint="start it with: gateway-worker serve\nelsewhere? name it with --target HOST:PORT or GATEWAY_TARGET",
    ) as channel:
        yield channel


@asynccontextmanager
async def worker_api(target: str) -> AsyncIterator[worker_pb2_grpc.WorkerServiceAsyncStub]:
    """Connect to the worker's API; give its main service. Raises UnreachableError."""
    async with worker_channel(target) as channel:
        yield worker_pb2_grpc.WorkerServiceStub(channel)


async def _is_ready(channel: aio.Channel) -> bool:
    """Wait for the first connection; False at the first failure, instead of the retries that a channel would make."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    return False
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        return False
    return True
