"""The event stream, opened again where it broke off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import grpc
from grpc import aio

from gateway_worker.cli.channels import worker_api
from gateway_worker.cli.exits import UnreachableError
from wagateway.worker.v1 import worker_pb2

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
"""Seconds between attempts to reach a worker that went away: doubled each time from the first to the longest."""

_GOES_ON_LATER: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""How the contract ends streams that are to be opened again: the worker drains or is gone, or this client stalled."""


async def read(
    target: str, request: worker_pb2.SessionEventsRequest
) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
    """Read SessionEvents until it ends. Raises UnreachableError, AioRpcError."""
    async with worker_api(target) as api:
        async for response in api.SessionEvents(request):
            yield response


async def follow(
    target: str, request: worker_pb2.SessionEventsRequest, *, interrupted: Callable[[], None]
) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
    """Follow SessionEvents for ever: when the stream breaks, open it again after the last cursor.

    Args:
        target: The worker's address.
        request: What to follow. Changed: its start becomes the last cursor seen.
        interrupted: Called each time the stream broke.

    Raises:
        UnreachableError: The worker could not be reached at the very first attempt.
        AioRpcError: The worker refused the request.
    """
    pause, opened = _FIRST_PAUSE, False
    while True:
        try:
            async with aclosing(read(target, request)) as responses:
                async for response in responses:
                    pause, opened = _FIRST_PAUSE, True
                    yield response
                    # Only now: what was yielded has been dealt with, what is asked for next is what follows it.
                    if cursor := cursor_of(response):
                        request.cursor = cursor
        except UnreachableError:
            if not opened:
                raise
        except aio.AioRpcError as error:
            if not opened or error.code() not in _GOES_ON_LATER:
                raise
            interrupted()
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def cursor_of(response: worker_pb2.SessionEventsResponse) -> str:
    """Return the place after a message of the stream; empty for an ephemeral event."""
    return response.event.cursor if response.WhichOneof("what") == "event" else response.heartbeat.cursor
