"""What a failed call looks like, and how the command ends."""

from __future__ import annotations

import socket

import grpc
import pytest

from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker, Refuse


def test_wrong_fields_are_named_once_with_what_is_accepted(cli: Cli, worker: FakeWorker) -> None:
    """Wrong fields are named once with what is accepted."""
    worker.refusals["SendText"] = Refuse(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_RECIPIENT",
        message="to: must be a number",
        violations=(("to", "must be a number"),),
    )
    result = cli("send", "text", "alpha", "nobody", "hi")
    assert result.code == 1
    assert result.words == "error: the request is not valid (INVALID_RECIPIENT) to: must be a number"


def test_retry_hint_and_metadata_are_shown(cli: Cli, worker: FakeWorker) -> None:
    """Retry hint and metadata are shown."""
    worker.refusals["SendText"] = Refuse(
        grpc.StatusCode.UNAVAILABLE,
        "SESSION_RECONNECTING",
        message="it is on its way back",
        retry_after=1.5,
        metadata={"state": "reconnecting"},
    )
    result = cli("send", "text", "alpha", "+6281300000001", "hi")
    assert result.code == 1
    assert "it is on its way back (SESSION_RECONNECTING)" in result.words
    assert "state: reconnecting" in result.words
    assert "try again in 1.5 s" in result.words


@pytest.mark.parametrize("reason", ["SESSION_NOT_LINKED", "SESSION_LOGGED_OUT"])
def test_a_session_that_is_not_linked_has_an_exit_code_of_its_own(cli: Cli, worker: FakeWorker, reason: str) -> None:
    """A session that is not linked has an exit code of its own."""
    worker.refusals["SendText"] = Refuse(grpc.StatusCode.FAILED_PRECONDITION, reason)
    result = cli("send", "text", "alpha", "+6281300000001", "hi")
    assert result.code == 4
    assert "gateway-worker pair ID" in result.words


def test_a_call_that_takes_too_long_ends_with_4(cli: Cli, worker: FakeWorker) -> None:
    """A call that takes too long ends with 4."""
    worker.delay = 0.5
    result = cli("send", "text", "alpha", "+6281300000001", "hi", "--timeout", "0.1")
    assert result.code == 4
    assert "no answer in time (DEADLINE_EXCEEDED)" in result.words


def test_an_error_without_details_keeps_its_code(cli: Cli, worker: FakeWorker) -> None:
    """An error without details keeps its code."""
    worker.refusals["ListSessions"] = Refuse(grpc.StatusCode.INTERNAL, message="internal error")
    result = cli("sessions", "list")
    assert (result.code, result.words) == (1, "error: internal error (INTERNAL)")


def test_a_connection_lost_on_the_way_is_no_refusal(cli: Cli, worker: FakeWorker) -> None:
    """A connection lost on the way is no refusal."""
    worker.refusals["ListSessions"] = Refuse(grpc.StatusCode.UNAVAILABLE, message="Socket closed")
    result = cli("sessions", "list")
    assert result.code == 3
    assert "is the server still running?" in result.words


def test_nobody_there_says_how_to_start_the_worker(cli: Cli) -> None:
    """Nobody there says how to start the worker."""
    with socket.socket() as taken:  # bound, not listening: connections are refused, and nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        result = cli("sessions", "list", "--target", target)
    assert result.code == 3
    assert f"cannot reach the worker at {target}: is it running?" in result.words
    assert "gateway-worker serve" in result.words
    assert "Traceback" not in result.err


def test_nobody_there_as_json(cli: Cli) -> None:
    """Nobody there as JSON."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = cli("health", "--json", "--target", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (result.code, result.out) == (3, "")
    assert '"message": "cannot reach the worker' in result.err


def test_a_web_proxy_in_the_environment_is_left_alone(
    cli: Cli, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web proxy in the environment is left alone."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert cli("sessions", "list").code == 0
    assert worker.calls
