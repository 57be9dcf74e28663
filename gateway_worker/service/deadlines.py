"""No unary call goes on for ever: one whose client set no deadline gets a default one."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from gateway_worker.service.errors import DeadlineError
from gateway_worker.service.interceptors import Context, Handler, Method

_ends_at: ContextVar[float] = ContextVar("deadline")  # in the event loop's time


def time_left() -> float:
    """Seconds until the deadline of the unary call under way; raises LookupError in any other place."""
    return max(0.0, _ends_at.get() - asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class DefaultDeadline:
    """Gives unary calls their deadline: the client's, which gRPC itself enforces, or else the default one.

    A call that outlives it is cancelled, which reaches the core, and answered with DEADLINE_EXCEEDED. A stream has no
    deadline but its client's.

    Attributes:
        unary: Default in seconds.
        send: Default of the sends, in seconds: longer than WhatsApp may take to acknowledge one (75 s).
    """

    unary: float = 30.0
    send: float = 90.0

    def intercept(self, method: Method, proceed: Handler) -> Handler:
        """See :class:`~gateway_worker.service.interceptors.Interceptor`."""
        if method.streaming:
            return proceed
        default = self.send if method.name.startswith("Send") else self.unary

        async def handle(request: Any, context: Context) -> Message | None:
            # gRPC's stubs say float, yet it is None when the client set none
            remaining: float | None = context.time_remaining()
            now = asyncio.get_running_loop().time()
            if remaining is not None:
                _ends_at.set(now + remaining)
                return await proceed(request, context)
            _ends_at.set(now + default)
            limit = asyncio.timeout_at(now + default)
            try:
                async with limit:
                    return await proceed(request, context)
            except TimeoutError:
                if not limit.expired():
                    raise  # somebody else's, and a bug
                raise DeadlineError from None

        return handle
