"""A client that stops reading its stream slows itself only, and is let go, resumable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import grpc
import pytest

from gateway_worker.domain.errors import SlowConsumerError
from gateway_worker.domain.ids import TenantId
from gateway_worker.service.event_stream import write_stream
from gateway_worker.service.server import ServerConfig
from tests.support.edge import failure_of, serving, stub_of, until
from tests.support.scripted_core import ScriptedCore
from wagateway.worker.v1 import event_pb2, worker_pb2

PADDING = "x" * 1000
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0)]  # else this client lets up to 5 MB in before it stops reading


def _numbered(number: int) -> worker_pb2.SessionEventsResponse:
    return worker_pb2.SessionEventsResponse(
        event=event_pb2.Event(session_id=PADDING, sequence=number, cursor=f"p{number:x}")
    )


class EndlessCore(ScriptedCore):
    """A core with more events than anybody reads, in a hurry; it knows each stream by the session it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.yielded: dict[str, int] = {}
        self.closed: list[str] = []

    async def events(
        self, tenant: TenantId, request: worker_pb2.SessionEventsRequest
    ) -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        """Yield numbered events for ever."""
        del tenant
        (name,) = request.session_ids
        try:
            while True:
                self.yielded[name] = self.yielded.get(name, 0) + 1
                yield _numbered(self.yielded[name])
                await asyncio.sleep(0)
        finally:
            self.closed.append(name)


def _ask(name: str) -> worker_pb2.SessionEventsRequest:
    return worker_pb2.SessionEventsRequest(session_ids=[name])


async def _read(
    stream: grpc.aio.UnaryStreamCall[worker_pb2.SessionEventsRequest, worker_pb2.SessionEventsResponse],
) -> int:
    """The sequence of the next event."""
    response = await stream.read()
    assert isinstance(response, worker_pb2.SessionEventsResponse)
    return response.event.sequence


async def test_a_client_that_stops_reading_is_let_go_and_can_go_on_from_its_cursor() -> None:
    """The core's side ends after the stall; the client finds all that was written, and then the reason."""
    core = EndlessCore()
    async with serving(core, ServerConfig(stall_timeout=0.3), channel_options=SMALL_WINDOW) as edge:
        stream = edge.stub.SessionEvents(_ask("stalled"))
        assert await _read(stream) == 1
        await until(lambda: core.closed == ["stalled"], within=3)
        written = core.yielded["stalled"]
        assert written * len(PADDING) < 1024 * 1024
        assert [await _read(stream) for _ in range(written - 1)] == list(range(2, written + 1))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        failure = failure_of(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")


async def test_a_stalled_stream_slows_nobody_else() -> None:
    """Neither the streams and calls on its own connection nor those on others."""
    core = EndlessCore()
    async with serving(core, ServerConfig(stall_timeout=30), channel_options=SMALL_WINDOW) as edge:
        stalled = edge.stub.SessionEvents(_ask("stalled"))
        await _read(stalled)
        await asyncio.sleep(0.1)
        level = core.yielded["stalled"]
        beside = edge.stub.SessionEvents(_ask("beside"))
        async with grpc.aio.insecure_channel(edge.server.address) as other:
            elsewhere = stub_of(other).SessionEvents(_ask("elsewhere"))
            started = time.monotonic()
            for number in range(1, 1001):
                assert await _read(beside) == number
                assert await _read(elsewhere) == number
            await edge.stub.GetSession(worker_pb2.GetSessionRequest(session_id="one"), timeout=2)
            assert time.monotonic() - started < 5
            for stream in (beside, elsewhere, stalled):
                stream.cancel()
        assert core.yielded["stalled"] <= level + 1
        await until(lambda: sorted(core.closed) == ["beside", "elsewhere", "stalled"])


async def test_a_slow_reader_is_not_a_stalled_one() -> None:
    """What counts is one message within the limit, however long the stream takes."""
    core = EndlessCore()
    async with serving(core, ServerConfig(stall_timeout=0.3), channel_options=SMALL_WINDOW) as edge:
        stream = edge.stub.SessionEvents(_ask("slow"))
        deadline = time.monotonic() + 1.2
        received = 0
        while time.monotonic() < deadline:
            for _ in range(20):
                received += 1
                assert await _read(stream) == received
            await asyncio.sleep(0.03)
        assert core.closed == []
        stream.cancel()
        await until(lambda: core.closed == ["slow"])


async def test_a_stalled_stream_does_not_hold_up_the_stop() -> None:
    """Its status cannot be delivered, and nobody waits for that."""
    core = EndlessCore()
    async with serving(core, ServerConfig(stall_timeout=0.1), channel_options=SMALL_WINDOW) as edge:
        stream = edge.stub.SessionEvents(_ask("stalled"))
        await _read(stream)
        await until(lambda: core.closed == ["stalled"], within=3)
        started = time.monotonic()
        await edge.server.stop(grace=30)
        assert time.monotonic() - started < 3
        stream.cancel()


@pytest.mark.parametrize("stall_timeout", [0.1, 30])
async def test_a_client_that_goes_away_is_not_an_error(stall_timeout: float, caplog: pytest.LogCaptureFixture) -> None:
    """Neither while it is written to nor while the status of a stall is on its way: nobody needs to read of it."""
    core = EndlessCore()
    names = [f"client-{number}" for number in range(10)]
    async with serving(core, ServerConfig(stall_timeout=stall_timeout)) as edge:
        for name in names:
            async with grpc.aio.insecure_channel(edge.server.address, options=SMALL_WINDOW) as channel:
                await _read(stub_of(channel).SessionEvents(_ask(name)))
                await asyncio.sleep(0.2)
        await until(lambda: sorted(core.closed) == sorted(names))
    assert [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


async def test_an_error_of_the_source_is_not_taken_for_a_stall() -> None:
    """Only a write can stall; a TimeoutError of the source is its own."""

    async def source() -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        yield _numbered(1)
        raise TimeoutError

    async def write(_: worker_pb2.SessionEventsResponse) -> None: ...

    with pytest.raises(TimeoutError):
        await write_stream(source(), write, stall_timeout=1)


async def test_the_source_is_closed_before_the_stall_is_reported() -> None:
    """What the source holds is free when the client hears of it."""
    closed = False

    async def source() -> AsyncGenerator[worker_pb2.SessionEventsResponse, None]:
        nonlocal closed
        try:
            while True:
                yield _numbered(1)
        finally:
            closed = True

    async def write(_: worker_pb2.SessionEventsResponse) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SlowConsumerError):
        await write_stream(source(), write, stall_timeout=0.01)
    assert closed
