"""Interceptors on their own: order, the gate, the log of calls."""

# ruff: noqa: ARG001 - handlers have the signature of handlers

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from google.protobuf.message import Message

from gateway_worker.domain.errors import DrainingError, SessionNotFoundError
from gateway_worker.service.call_log import CallLog
from gateway_worker.service.deadlines import time_left
from gateway_worker.service.errors import TooManyCallsError
from gateway_worker.service.gate import CallGate
from gateway_worker.service.interceptors import Context, Handler, Method, compose
from gateway_worker.service.principal import current_tenant
from wagateway.worker.v1 import content_pb2, worker_pb2

METHOD = Method("wagateway.worker.v1.WorkerService", "SendText", streaming=False)
CONTEXT = cast("Context", None)
REQUEST = worker_pb2.SendTextRequest(session_id="one", to="0877", text=content_pb2.TextContent(text="private words"))


class _Noting:
    """Writes down when it is entered and left, and how often it is asked for a handler."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    def intercept(self, method: Method, proceed: Handler) -> Handler:
        self._notes.append(f"{self._name} for {method.name}")

        async def handle(request: Any, context: Context) -> Message | None:
            self._notes.append(f"{self._name} in")
            try:
                return await proceed(request, context)
            finally:
                self._notes.append(f"{self._name} out")

        return handle


async def _answer(request: Any, context: Context) -> Message | None:
    return worker_pb2.SendTextResponse()


async def test_the_first_interceptor_is_outermost_and_chains_are_built_once() -> None:
    """Whatever a chain does besides running is not done again at every call."""
    notes: list[str] = []
    handler = compose(METHOD, _answer, [_Noting("a", notes), _Noting("b", notes)])
    assert notes == ["b for SendText", "a for SendText"]
    notes.clear()
    for _ in range(2):
        assert await handler(REQUEST, CONTEXT) == worker_pb2.SendTextResponse()
    assert notes == ["a in", "b in", "b out", "a out"] * 2


async def test_a_chain_without_interceptors_is_the_handler() -> None:
    """No layer, no cost."""
    assert compose(METHOD, _answer, []) is _answer


async def test_tenant_and_deadline_exist_during_calls_only() -> None:
    """Code that asks for them anywhere else is wrong, and hears of it."""
    with pytest.raises(LookupError):
        current_tenant()
    with pytest.raises(LookupError):
        time_left()


async def test_the_gate_counts_calls_however_they_end() -> None:
    """By an answer, an error or a cancellation."""
    gate = CallGate(3)
    hold = asyncio.Event()

    async def wait(request: Any, context: Context) -> Message | None:
        await hold.wait()
        if request is None:
            raise SessionNotFoundError
        return worker_pb2.SendTextResponse()

    handler = gate.intercept(METHOD, wait)
    calls = [asyncio.ensure_future(handler(request, CONTEXT)) for request in (REQUEST, None, REQUEST)]
    await asyncio.sleep(0)
    assert gate.under_way == 3
    assert not await gate.wait_idle(0.01)
    with pytest.raises(TooManyCallsError):
        await handler(REQUEST, CONTEXT)
    calls[2].cancel()
    hold.set()
    assert await gate.wait_idle(1)
    assert gate.under_way == 0
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        worker_pb2.SendTextResponse,
        SessionNotFoundError,
        asyncio.CancelledError,
    ]


async def test_a_closed_gate_lets_nobody_in_and_everybody_out() -> None:
    """Calls under way are not disturbed."""
    gate = CallGate(3)
    hold = asyncio.Event()

    async def wait(request: Any, context: Context) -> Message | None:
        await hold.wait()
        return worker_pb2.SendTextResponse()

    handler = gate.intercept(METHOD, wait)
    call = asyncio.ensure_future(handler(REQUEST, CONTEXT))
    await asyncio.sleep(0)
    gate.close()
    with pytest.raises(DrainingError):
        await handler(REQUEST, CONTEXT)
    hold.set()
    assert await call == worker_pb2.SendTextResponse()
    assert await gate.wait_idle(0)


async def _logged(handler: Handler, request: Message, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.DEBUG, logger="gateway_worker.service.call_log"):
        (outcome,) = await asyncio.gather(
            CallLog().intercept(METHOD, handler)(request, CONTEXT), return_exceptions=True
        )
    del outcome
    (record,) = caplog.records
    return record.getMessage()


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (None, "OK"),
        (SessionNotFoundError(), "NOT_FOUND SESSION_NOT_FOUND"),
        (asyncio.CancelledError(), "CANCELLED"),
        (ValueError("private reason"), "INTERNAL ValueError"),
    ],
)
async def test_a_call_is_logged_with_its_outcome_and_nothing_of_what_was_said(
    raised: BaseException | None, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a call: method, session, status, milliseconds."""

    async def end(request: Any, context: Context) -> Message | None:
        if raised is not None:
            raise raised
        return worker_pb2.SendTextResponse()

    line = await _logged(end, REQUEST, caplog)
    assert line.startswith(f"wagateway.worker.v1.WorkerService/SendText session=one {outcome} ")
    assert line.endswith(" ms")
    assert "private" not in line
    assert "0877" not in line


@pytest.mark.parametrize("request_", [worker_pb2.SendTextRequest(session_id="a\nb"), worker_pb2.ListSessionsRequest()])
async def test_what_is_no_session_id_is_not_logged(request_: Message, caplog: pytest.LogCaptureFixture) -> None:
    """A log's lines are not for clients to write."""
    assert " session=- OK " in await _logged(_answer, request_, caplog)


async def test_above_debug_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A busy worker does not write a line for every call."""
    with caplog.at_level(logging.INFO, logger="gateway_worker.service.call_log"):
        await CallLog().intercept(METHOD, _answer)(REQUEST, CONTEXT)
    assert caplog.records == []
