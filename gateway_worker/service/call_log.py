"""One line in the debug log for every call: what was called and how it ended, never what was said."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway_worker.domain.errors import GatewayError
from gateway_worker.domain.ids import is_name
from gateway_worker.service.errors import rule_of
from gateway_worker.service.interceptors import Context, Handler, Method

logger = logging.getLogger(__name__)


class CallLog:
    """Logs method, session id, status code, reason and milliseconds of each call, at level DEBUG."""

    def intercept(self, method: Method, proceed: Handler) -> Handler:
        """See :class:`~gateway_worker.service.interceptors.Interceptor`."""

        async def handle(request: Any, context: Context) -> Message | None:
            if not logger.isEnabledFor(logging.DEBUG):
                return await proceed(request, context)
            started = time.perf_counter()
            outcome = grpc.StatusCode.OK.name
            try:
                return await proceed(request, context)
            except BaseException as error:
                outcome = _outcome(error)
                raise
            finally:
                logger.debug(
                    "%s session=%s %s %.1f ms",
                    method.full_name,
                    _session_of(request),
                    outcome,
                    (time.perf_counter() - started) * 1000,
                )

        return handle


def _outcome(error: BaseException) -> str:
    if isinstance(error, GatewayError):
        return f"{rule_of(type(error)).code.name} {error.reason}"
    if isinstance(error, asyncio.CancelledError | grpc.aio.BaseError):  # gRPC's own: the client has gone
        return grpc.StatusCode.CANCELLED.name
    return f"{grpc.StatusCode.INTERNAL.name} {type(error).__name__}"


def _session_of(request: object) -> str:
    """The session a request names. What is no session id is not written into a log."""
    session = getattr(request, "session_id", "")
    return session if is_name(session) else "-"
