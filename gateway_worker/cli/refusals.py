"""What a failed call means: the status and its details (``google.rpc``), decoded for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc import aio
from grpc_status import rpc_status
from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from gateway_worker.cli.exits import CommandError, ExitCode

_NOT_LINKED_REASONS: Final = frozenset({"SESSION_NOT_LINKED", "SESSION_LOGGED_OUT"})

# What a user of this command line does next; the worker's own messages speak to programmers.
_HINTS: Final = {
    "SESSION_NOT_FOUND": "gateway-worker sessions list shows what there is; sessions create ID makes one",
    "SESSION_EXISTS": "gateway-worker sessions show ID shows it",
    "SESSION_NOT_LINKED": "gateway-worker pair ID links it",
    "SESSION_LOGGED_OUT": "gateway-worker pair ID links it again",
    "SESSION_NOT_CONNECTED": "gateway-worker sessions connect ID connects it",
    "SESSION_REPLACED": "gateway-worker sessions connect ID takes the device back",
    "SESSION_FAILED": "gateway-worker sessions show ID says why",
    "NOT_PAIRING": "gateway-worker pair ID asks for a code",
    "CURSOR_EXPIRED": "start with --from earliest, or with the oldest cursor given above",
    "SEND_FATE_UNKNOWN": "do not repeat it blindly: gateway-worker events shows what became of it",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that failed.

    Attributes:
        code: gRPC's status code, for example ``NOT_FOUND``.
        message: The server's sentence.
        reason: Stable reason of ``google.rpc.ErrorInfo``; empty when the server gave none.
        violations: Wrong fields of the request: path and what is accepted.
        retry_after: Seconds after which trying again makes sense; None when the server did not say.
        metadata: Further facts of ``ErrorInfo``.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends."""
        if self.reason in _NOT_LINKED_REASONS or self.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ExitCode.NOT_LINKED
        if self.code is grpc.StatusCode.UNAVAILABLE and not self.reason:
            # Every error of the worker has a reason: this one is gRPC's own, the connection is gone.
            return ExitCode.UNREACHABLE
        return ExitCode.REFUSED

    @property
    def hint(self) -> str:
        """What to do about it, may be empty."""
        if self.exit_code is ExitCode.UNREACHABLE:
            return "the connection was lost: is the server still running?"
        return _HINTS.get(self.reason, "")

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "code": self.code.name,
            "reason": self.reason,
            "message": self.message,
            "violations": [{"field": path, "description": text} for path, text in self.violations],
            "retryAfterSeconds": self.retry_after,
            "metadata": self.metadata,
        }

    def view(self) -> Group:
        """Return it as lines for a terminal."""
        name = self.reason or self.code.name
        # The worker's sentence for a wrong request joins its violations, which follow here one by one.
        joined = any(text in self.message for _, text in self.violations)
        message = "the request is not valid" if joined else self.message
        facts = [*self.violations, *sorted(self.metadata.items())]
        lines = [Text.assemble((key, "bold"), f": {text}") for key, text in facts]
        if self.retry_after is not None:
            lines.append(Text(f"try again in {self.retry_after:g} s"))
        return _error_lines(Text.assemble(message, (f"  ({name})", "dim")), lines, self.hint)


def refusal(error: aio.AioRpcError) -> Refusal:
    """Decode a failed call; a status without details, or with unreadable ones, keeps its code and message."""
    code, message = error.code(), error.details() or "no further explanation"
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))  # its methods are those of a call
    except ValueError:  # details that contradict the status: not from this gateway, but not worth a crash
        status = None
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and status is None:
        message = "no answer in time"
    if status is None:
        return Refusal(code=code, message=message)
    info, bad_request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad_request.DESCRIPTOR):
            detail.Unpack(bad_request)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry = retry_info.retry_delay.ToTimedelta().total_seconds()
    return Refusal(
        code=code,
        message=message,
        reason=info.reason,
        violations=tuple((each.field, each.description) for each in bad_request.field_violations),
        retry_after=retry,
        metadata=dict(info.metadata),
    )


def error_view(error: CommandError) -> Group:
    """Return an error of the command line itself as lines for a terminal."""
    return _error_lines(Text(error.message), [], error.hint)


def _error_lines(message: Text, facts: Sequence[Text], hint: str) -> Group:
    """Lay an error out: the sentence, then facts and what to do, indented."""
    hints = [Text(line, style="cyan") for line in hint.splitlines()]
    details = (Padding(line, (0, 0, 0, 2), expand=False) for line in (*facts, *hints))
    return Group(Text.assemble(("error", "bold red"), ": ", message), *details)
