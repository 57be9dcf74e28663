"""Writes a stream of responses to a client that may stop reading it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from google.protobuf.message import Message

from gateway_worker.domain.errors import SlowConsumerError

ResponseT = TypeVar("ResponseT", bound=Message)


async def write_stream(
    responses: AsyncGenerator[ResponseT, None], write: Callable[[ResponseT], Awaitable[None]], *, stall_timeout: float
) -> None:
    """Write ``responses`` one after the other, and close the generator whatever happens.

    A write is done when gRPC's flow control has let the message go, so nothing piles up on this side: what a client
    does not read waits in its own receive window, a message here, and the rest in the journal.

    Args:
        responses: What to write. Not asked for the next one before the last one is out.
        write: ``grpc.aio.ServicerContext.write``.
        stall_timeout: Seconds that one write may take.

    Raises:
        SlowConsumerError: A write took longer. gRPC still delivers that message and then the status if the client reads
            on, so the client's last cursor is right in any case.
    """
    async with aclosing(responses):
        async for response in responses:
            try:
                async with asyncio.timeout(stall_timeout):
                    await write(response)
            except TimeoutError:
                raise SlowConsumerError from None
