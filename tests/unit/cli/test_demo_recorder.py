"""The demo's record of the stream: what it waits for, and what it counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from gateway_worker.cli.channels import worker_api
from gateway_worker.cli.demo.errors import DemoError
from gateway_worker.cli.demo.recorder import EventRecorder
from tests.support.fake_worker import FakeWorker, Refuse, StreamItem
from wagateway.worker.v1 import event_pb2, worker_pb2


def event(sequence: int, session: str = "demo") -> event_pb2.Event:
    """Return an event with a number."""
    return event_pb2.Event(session_id=session, sequence=sequence, deleted=event_pb2.SessionDeleted())


def recorded(*numbers: int) -> EventRecorder:
    """Return a record of events with these numbers."""
    recorder = EventRecorder()
    recorder.events = [event(number) for number in numbers]
    return recorder


@asynccontextmanager
async def recording(worker: FakeWorker, *items: StreamItem) -> AsyncIterator[EventRecorder]:
    """Record a stream."""
    worker.streams.put(list(items))
    recorder = EventRecorder()
    async with worker_api(worker.target) as api, recorder.recording(api):
        yield recorder


@pytest.mark.parametrize(
    ("numbers", "holes", "repeats"),
    [((1, 2, 3), 0, 0), ((), 0, 0), ((0, 0), 0, 0), ((1, 3), 1, 0), ((3,), 2, 0), ((1, 2, 2, 5, 1), 2, 2)],
)
def test_holes_and_repeats_are_counted(numbers: tuple[int, ...], holes: int, repeats: int) -> None:
    """A hole is a lost event, from the first on; a repeat is a doubled one; ephemeral events have no number."""
    recorder = recorded(*numbers)
    assert (recorder.holes(), recorder.repeats()) == (holes, repeats)


def test_each_session_is_counted_by_itself() -> None:
    """Sequences belong to sessions."""
    recorder = EventRecorder()
    recorder.events = [event(1, "a"), event(1, "b"), event(2, "b")]
    assert (recorder.holes(), recorder.repeats()) == (0, 0)


async def test_records_everything_from_the_earliest_event_on(worker: FakeWorker) -> None:
    """Nothing that happened before the stream was opened is missed; heartbeats are no events."""
    async with recording(worker, event(1), worker_pb2.Heartbeat(), event(2), 30.0) as recorder:
        await recorder.wait_for("the second", lambda each: each.sequence == 2)
        assert [each.sequence for each in recorder.events] == [1, 2]
    assert worker.requests("SessionEvents")[0].position == worker_pb2.START_POSITION_EARLIEST


async def test_waits_for_what_comes_later(worker: FakeWorker) -> None:
    """An event that is not there yet is waited for."""
    async with recording(worker, event(1), 0.3, event(2), 30.0) as recorder:
        await recorder.wait_for("the first", lambda each: each.sequence == 1)
        started = time.monotonic()
        await recorder.wait_for("the second", lambda each: each.sequence == 2)
    assert time.monotonic() - started < 10


async def test_leaves_out_what_came_before(worker: FakeWorker) -> None:
    """A scene waits for what happens in it, not for the like of it before."""
    async with recording(worker, event(1), event(2), 30.0) as recorder:
        await recorder.wait_for("both", lambda each: each.sequence == 2)
        found = await recorder.wait_for("any", lambda each: each.HasField("deleted"), since=1)
    assert found.sequence == 2


async def test_says_what_it_waited_for_in_vain(worker: FakeWorker) -> None:
    """The error names what did not come, and what came last."""
    async with recording(worker, event(1), 30.0) as recorder:
        await recorder.wait_for("the first", lambda each: each.sequence == 1)
        with pytest.raises(DemoError, match=r"waited 0.05 s in vain: the answer") as caught:
            await recorder.wait_for("the answer", lambda each: each.HasField("message"), timeout_seconds=0.05)
    assert "deleted" in caught.value.hint


@pytest.mark.parametrize(
    ("end", "hint"), [(None, "the worker ended it"), (Refuse(grpc.StatusCode.UNAVAILABLE, "X", message="gone"), "gone")]
)
async def test_a_stream_that_breaks_ends_the_waiting(worker: FakeWorker, end: StreamItem, hint: str) -> None:
    """Nobody waits for what can no longer come."""
    async with recording(worker, event(1), end) as recorder, asyncio.timeout(10):
        with pytest.raises(DemoError, match="the stream of events broke") as caught:
            await recorder.wait_for("more", lambda each: each.sequence == 2)
    assert caught.value.hint == hint
