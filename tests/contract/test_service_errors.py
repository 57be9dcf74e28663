"""Errors: each class reaches the client as the status, reason and details that docs/errors.md promises."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from gateway_worker.domain import errors as domain_errors
from gateway_worker.domain.errors import (
    CursorExpiredError,
    FateUnknownError,
    GatewayError,
    InvalidArgumentError,
    InvalidCursorError,
    ReconnectingError,
    SessionNotFoundError,
    Violation,
    WaitTooLongError,
)
from gateway_worker.service import errors as edge_errors
from tests.support.edge import Failure, failure_of, serving
from tests.support.scripted_core import ScriptedCore
from wagateway.worker.v1 import event_pb2, worker_pb2

DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
GET = worker_pb2.GetSessionRequest(session_id="one")


def _classes() -> list[type[GatewayError]]:
    """All error classes with a reason of their own, the base included."""
    found: list[type[GatewayError]] = []
    queue = [GatewayError]
    while queue:
        kind = queue.pop()
        queue.extend(kind.__subclasses__())
        if "reason" in vars(kind) and kind.__module__ in {domain_errors.__name__, edge_errors.__name__}:
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


CLASSES = _classes()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table in docs/errors.md."""

    reason: str
    status: str
    details: str


def _rows() -> list[Row]:
    table = DOCS.read_text().partition("## Reasons")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", table, flags=re.MULTILINE)
    return [Row(*row) for row in rows]


ROWS = {row.reason: row for row in _rows()}


def _example(kind: type[GatewayError]) -> GatewayError:
    if kind is InvalidCursorError:
        return InvalidCursorError()
    if issubclass(kind, InvalidArgumentError):
        return kind(Violation("options.mentions[2]", "must be a number or a JID"))
    return kind()


async def _failure(core: ScriptedCore) -> Failure:
    async with serving(core) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.stub.GetSession(GET, timeout=5)
        return failure_of(caught.value)


async def _stream_failure(core: ScriptedCore) -> Failure:
    """How a stream fails, right after the core's responses were read."""
    async with serving(core) as edge:
        stream = edge.stub.SessionEvents(worker_pb2.SessionEventsRequest(), timeout=5)
        for _ in core.responses():
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        return failure_of(caught.value)


def test_docs_and_code_know_the_same_reasons_each_once() -> None:
    """Clients can rely on the table in docs/errors.md: no reason is missing, invented or listed twice."""
    documented = [row.reason for row in _rows()]
    assert sorted(documented) == sorted(kind.reason for kind in CLASSES)
    assert len(set(documented)) == len(documented)


@pytest.mark.parametrize("kind", CLASSES)
async def test_error_class(kind: type[GatewayError]) -> None:
    """Status, reason, message and kinds of details are those of the row in docs/errors.md."""
    row, error = ROWS[kind.reason], _example(kind)
    failure = await _failure(ScriptedCore(error=error))
    assert failure.code.name == row.status
    assert (failure.domain, failure.reason, failure.message) == ("wagateway", kind.reason, error.message)
    always_retried = row.details == "RetryInfo"
    assert (failure.retry_after is not None) == always_retried
    assert bool(failure.fields) == (row.details == "BadRequest")
    assert failure.details == 1 + always_retried + bool(failure.fields)


@pytest.mark.parametrize("kind", CLASSES)
async def test_error_class_at_the_end_of_a_stream(kind: type[GatewayError]) -> None:
    """A stream fails with the same status and details as a call, after what came before the error."""
    events = [worker_pb2.SessionEventsResponse(event=event_pb2.Event(cursor="p1"))] * 3
    error = _example(kind)
    failure = await _stream_failure(ScriptedCore(error=error, responses=lambda: events))
    assert failure == await _failure(ScriptedCore(error=error))


def test_only_a_bug_is_internal() -> None:
    """A new error of no known kind must get a line in the table, or else it would look like a bug."""
    internal = [kind for kind in CLASSES if edge_errors.rule_of(kind).code is grpc.StatusCode.INTERNAL]
    assert internal == [GatewayError]


async def test_a_new_error_of_a_known_kind_has_the_status_of_its_kind() -> None:
    """The table is looked up by ancestry, so a new error needs no line in it."""

    class NewsletterNotFoundError(domain_errors.NotFoundError):
        reason = "NEWSLETTER_NOT_FOUND"
        default_message = "there is no such newsletter"

    failure = await _failure(ScriptedCore(error=NewsletterNotFoundError()))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "NEWSLETTER_NOT_FOUND")


async def test_metadata_is_carried() -> None:
    """Facts that an error knows arrive in ErrorInfo, from calls and from streams."""
    failure = await _failure(ScriptedCore(error=FateUnknownError(metadata={"message_id": "3EB0"})))
    assert failure.metadata == {"message_id": "3EB0"}
    failure = await _stream_failure(ScriptedCore(error=CursorExpiredError(metadata={"oldest_cursor": "p9"})))
    assert failure.metadata == {"oldest_cursor": "p9"}


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (ReconnectingError(retry_after=2.5), 2.5),
        (ReconnectingError(), 1.0),
        (ReconnectingError(retry_after=-3), 0.0),
        (WaitTooLongError(retry_after=61), 61.0),
        (WaitTooLongError(), None),
        (SessionNotFoundError(), None),
    ],
)
async def test_retry_delay(error: GatewayError, retry_after: float | None) -> None:
    """RetryInfo has the error's own delay, else the table's, else it is left out."""
    assert (await _failure(ScriptedCore(error=error))).retry_after == retry_after


async def test_many_long_violations_still_fit_into_the_trailers() -> None:
    """A status larger than 8 KiB of trailers would be lost altogether: the client would learn nothing."""
    violations = [Violation(f"options.mentions[{index}]", "must be " + "\N{SNOWMAN}" * 2000) for index in range(256)]
    failure = await _failure(ScriptedCore(error=InvalidArgumentError(*violations)))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert next(iter(failure.fields)) == "options.mentions[0]"
    assert len(failure.message) == 512


async def test_as_many_violations_as_fit_are_named() -> None:
    """The first violations are kept, in order."""
    violations = [Violation(f"options.mentions[{index}]", "must be a number or a JID") for index in range(256)]
    failure = await _failure(ScriptedCore(error=InvalidArgumentError(*violations)))
    assert list(failure.fields) == [violation.field for violation in violations[: len(failure.fields)]]
    assert 16 < len(failure.fields) < 256


@pytest.mark.parametrize("error", [ValueError("secret 4711"), TimeoutError("secret 4711"), KeyError("secret 4711")])
async def test_what_nobody_expected_is_internal_and_logged_under_an_id(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets a fixed text and an id, and the log the exception under that id; nobody else sees its text."""
    failure = await _failure(ScriptedCore(error=error))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "4711" not in repr(failure)
    error_id = failure.metadata["error_id"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error_id in record.getMessage()
    assert "WorkerService/GetSession" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_each_bug_has_an_id_of_its_own() -> None:
    """Two failures can be told apart in the log."""
    core = ScriptedCore(error=ValueError("x"))
    assert (await _failure(core)).metadata != (await _failure(core)).metadata


async def test_a_stray_cancellation_is_a_bug_and_not_a_cancelled_call() -> None:
    """Otherwise gRPC would send no status at all, and the client would wait until its deadline."""
    failure = await _failure(ScriptedCore(error=asyncio.CancelledError()))
    assert failure.code is grpc.StatusCode.INTERNAL
    failure = await _stream_failure(ScriptedCore(error=asyncio.CancelledError()))
    assert failure.code is grpc.StatusCode.INTERNAL


async def test_an_unknown_method_is_unimplemented() -> None:
    """A newer client on an older worker learns that the method is not there."""
    async with serving() as edge:
        nonsense: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = edge.channel.unary_unary(
            "/wagateway.worker.v1.WorkerService/Nonsense", request_serializer=bytes
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await nonsense(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
