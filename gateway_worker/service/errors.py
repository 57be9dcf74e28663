"""From errors to gRPC statuses: one table, and the details that go with them.

Every status that this edge makes carries ``google.rpc.ErrorInfo`` (domain ``wagateway``, the error's stable reason),
``google.rpc.RetryInfo`` where a delay is known, and ``google.rpc.BadRequest`` where fields are wrong. Clients find the
reasons in ``docs/errors.md``.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc_status import rpc_status

from gateway_worker.domain.errors import (
    AlreadyExistsError,
    CursorExpiredError,
    ExhaustedError,
    FateUnknownError,
    GatewayError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    Violation,
)

DOMAIN = "wagateway"

# A status travels in HTTP/2 trailers, of which clients take 8 KiB by default, and more is answered by losing the status
# altogether. The message is in them twice, the details in base64.
_MAX_MESSAGE_CHARS = 512
_MAX_DETAILS_BYTES = 3072

logger = logging.getLogger(__name__)


class DeadlineError(GatewayError):
    """The call had no deadline of its own and took longer than the default one."""

    reason = "DEADLINE_EXCEEDED"
    default_message = (
        "the call took longer than the default deadline; a send may have gone out: repeat it with its idempotency key"
    )


class TooManyCallsError(ExhaustedError):
    """This worker serves as many calls as it may. Nothing happened."""

    reason = "TOO_MANY_CALLS"
    default_message = "this worker is serving as many calls as it may; nothing was done"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an error class becomes.

    Attributes:
        code: The status code.
        retry_after: Seconds for RetryInfo where the error itself knows none; None: no RetryInfo then.
    """

    code: grpc.StatusCode
    retry_after: float | None = None


RULES: Mapping[type[GatewayError], Rule] = MappingProxyType(
    {
        GatewayError: Rule(grpc.StatusCode.INTERNAL),
        InvalidArgumentError: Rule(grpc.StatusCode.INVALID_ARGUMENT),
        NotFoundError: Rule(grpc.StatusCode.NOT_FOUND),
        AlreadyExistsError: Rule(grpc.StatusCode.ALREADY_EXISTS),
        PreconditionError: Rule(grpc.StatusCode.FAILED_PRECONDITION),
        ExhaustedError: Rule(grpc.StatusCode.RESOURCE_EXHAUSTED),
        TooManyCallsError: Rule(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=1.0),
        CursorExpiredError: Rule(grpc.StatusCode.OUT_OF_RANGE),
        UnavailableError: Rule(grpc.StatusCode.UNAVAILABLE, retry_after=1.0),
        FateUnknownError: Rule(grpc.StatusCode.UNKNOWN),
        DeadlineError: Rule(grpc.StatusCode.DEADLINE_EXCEEDED),
    }
)
"""The table. The nearest class in an error's MRO counts, so that a new error of a known kind needs no line here."""


def rule_of(kind: type[GatewayError]) -> Rule:
    """The table's line for an error class."""
    return next(RULES[ancestor] for ancestor in kind.__mro__ if ancestor in RULES)


def status_of(error: GatewayError) -> grpc.Status:
    """The status that a client is sent for ``error``, small enough for trailers."""
    rule = rule_of(type(error))
    retry_after = rule.retry_after if error.retry_after is None else error.retry_after
    violations = error.violations if isinstance(error, InvalidArgumentError) else ()
    status = Status(code=rule.code.value[0], message=_shortened(error.message))
    _add(status, ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    if retry_after is not None:
        _add(status, _retry_info(retry_after))
    if violations:
        _add(status, _bad_request(violations, _MAX_DETAILS_BYTES - status.ByteSize()))
    return rpc_status.to_status(status)


def unexpected(error: BaseException, method: str) -> GatewayError:
    """The error that a client is told of when something broke that should not have.

    The client gets a fixed text and an id; the log gets the rest under the same id.

    Args:
        error: What was raised.
        method: Full name of the method that was called.
    """
    error_id = secrets.token_hex(8)
    logger.error("unexpected error %s in %s", error_id, method, exc_info=error)
    return GatewayError(
        "internal error: the gateway's log tells more under the error_id", metadata={"error_id": error_id}
    )


def _add(status: Status, detail: Message) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _retry_info(seconds: float) -> RetryInfo:
    info = RetryInfo()
    info.retry_delay.FromMilliseconds(max(0, round(seconds * 1000)))
    return info


def _bad_request(violations: Sequence[Violation], budget: int) -> BadRequest:
    """As many of the violations, from the first on, as fit into ``budget`` bytes; the first one always."""
    detail = BadRequest()
    for violation in violations:
        detail.field_violations.add(field=violation.field, description=_shortened(violation.description))
        if detail.ByteSize() > budget and len(detail.field_violations) > 1:
            del detail.field_violations[-1]
            break
    return detail


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[: _MAX_MESSAGE_CHARS - 1] + "…"
