"""``gateway-worker sessions``."""

from __future__ import annotations

import grpc
import pytest

from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker, Refuse
from wagateway.worker.v1 import session_pb2, worker_pb2


def test_list_shows_state_account_and_name(cli: Cli, worker: FakeWorker) -> None:
    """List shows state account and name."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_CONNECTED, phone="+6281200000001")
    worker.add_session("beta", session_pb2.SESSION_STATE_LOGGED_OUT)
    result = cli("sessions", "list")
    assert result.code == 0
    assert "alpha connected" in result.words
    assert "+6281200000001 Budi" in result.words
    assert "beta logged out" in result.words


def test_list_fits_80_columns_with_the_longest_id(cli: Cli, worker: FakeWorker) -> None:
    """List fits 80 columns with the longest id."""
    worker.add_session("x" * 64, session_pb2.SESSION_STATE_RECONNECTING, phone="+6281200000001")
    result = cli("sessions", "list")
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.out.count("x") == 64


def test_list_without_sessions_says_how_to_make_one(cli: Cli, worker: FakeWorker) -> None:
    """List without sessions says how to make one."""
    result = cli("sessions", "list")
    assert result.code == 0
    assert "sessions create" in result.out
    assert worker.requests("ListSessions")[0].states == []


def test_list_reads_all_pages(cli: Cli, worker: FakeWorker) -> None:
    """List reads all pages."""
    first, second = worker.add_session("a"), worker.add_session("b")
    worker.pages = [
        worker_pb2.ListSessionsResponse(sessions=[first], next_page_token="more"),  # noqa: S106 - a place in a list
        worker_pb2.ListSessionsResponse(sessions=[second]),
    ]
    listed = cli("sessions", "list", "--json").json()
    assert [session["id"] for session in listed["sessions"]] == ["a", "b"]
    assert [request.page_token for request in worker.requests("ListSessions")] == ["", "more"]


def test_list_as_json_writes_out_what_is_empty(cli: Cli, worker: FakeWorker) -> None:
    """List as JSON writes out what is empty."""
    assert cli("sessions", "list", "--json").json() == {"sessions": [], "nextPageToken": ""}
    assert worker.calls


def test_list_passes_states_on(cli: Cli, worker: FakeWorker) -> None:
    """List passes states on."""
    cli("sessions", "list", "--state", "logged-out", "--state", "connected")
    (request,) = worker.requests("ListSessions")
    assert list(request.states) == [session_pb2.SESSION_STATE_LOGGED_OUT, session_pb2.SESSION_STATE_CONNECTED]


def test_an_unknown_state_is_named_with_those_there_are(cli: Cli, worker: FakeWorker) -> None:
    """An unknown state is named with those there are."""
    result = cli("sessions", "list", "--state", "happy")
    assert result.code == 2
    assert "no such state: happy" in result.words
    assert "reconnecting" in result.words
    assert worker.calls == []


def test_show_tells_everything(cli: Cli, worker: FakeWorker) -> None:
    """Show tells everything."""
    session = worker.add_session("alpha", session_pb2.SESSION_STATE_BANNED, phone="+6281200000001")
    session.status.reason = session_pb2.STATE_REASON_ACCOUNT_BANNED
    session.status.banned_until.FromJsonString("2031-02-03T04:05:06Z")
    session.labels["owner"] = "acme"
    result = cli("sessions", "show", "alpha")
    assert "banned · WhatsApp banned the account" in result.words
    assert "banned until 2031-02-03" in result.words
    assert "6281200000001:1@s.whatsapp.net" in result.words
    assert "label owner=acme" in result.words


def test_show_as_json_is_the_contracts_message(cli: Cli, worker: FakeWorker) -> None:
    """Show as JSON is the contract's message."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_CONNECTED, phone="+6281200000001")
    document = cli("sessions", "show", "alpha", "--json").json()
    assert document["status"]["state"] == "SESSION_STATE_CONNECTED"
    assert document["account"]["phoneNumber"] == "+6281200000001"
    assert document["connectionWanted"] is False


def test_create_passes_everything_on(cli: Cli, worker: FakeWorker) -> None:
    """Create passes everything on."""
    result = cli(
        *("sessions", "create", "alpha", "--label", "a=b=c", "--label", "d="),
        *("--region", "DE", "--device-name", "Acme Shop"),
    )
    assert result.code == 0
    assert "gateway-worker pair alpha" in result.err
    (request,) = worker.requests("CreateSession")
    assert request == worker_pb2.CreateSessionRequest(
        session_id="alpha",
        labels={"a": "b=c", "d": ""},
        settings=session_pb2.SessionSettings(default_region="DE", device_name="Acme Shop"),
    )


def test_create_without_an_id_names_the_one_made_up(cli: Cli, worker: FakeWorker) -> None:
    """Create without an id names the one made up."""
    result = cli("sessions", "create")
    assert result.out == "created made-up\n"
    assert list(worker.sessions) == ["made-up"]


@pytest.mark.parametrize("label", ["nothing", "=value"])
def test_a_label_without_key_or_value_is_wrong_usage(cli: Cli, worker: FakeWorker, label: str) -> None:
    """A label without key or value is wrong usage."""
    result = cli("sessions", "create", "alpha", "--label", label)
    assert result.code == 2
    assert "KEY=VALUE" in result.err
    assert worker.calls == []


def test_connect_says_when_a_scan_is_needed(cli: Cli, worker: FakeWorker) -> None:
    """Connect says when a scan is needed."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_CONNECTING)
    result = cli("sessions", "connect", "alpha")
    assert result.out == "alpha is connecting\n"
    assert "gateway-worker pair alpha" in result.err


def test_connect_of_a_linked_session_asks_for_nothing_more(cli: Cli, worker: FakeWorker) -> None:
    """Connect of a linked session asks for nothing more."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_CONNECTING, phone="+6281200000001")
    assert cli("sessions", "connect", "alpha").err == ""


@pytest.mark.parametrize(
    ("command", "method", "state"),
    [("disconnect", "DisconnectSession", "disconnected"), ("logout", "LogoutSession", "logged out")],
)
def test_disconnect_and_logout_say_what_the_session_is_now(
    cli: Cli, worker: FakeWorker, command: str, method: str, state: str
) -> None:
    """Disconnect and logout say what the session is now."""
    worker.add_session("alpha", session_pb2.SESSION_STATE_CONNECTED, phone="+6281200000001")
    assert cli("sessions", command, "alpha").out == f"alpha is {state}\n"
    assert worker.requests(method)[0].session_id == "alpha"


def test_delete_wants_a_yes_where_nobody_can_be_asked(cli: Cli, worker: FakeWorker) -> None:
    """Delete wants a yes where nobody can be asked."""
    worker.add_session("alpha")
    result = cli("sessions", "delete", "alpha", "--json")
    assert result.code == 2
    assert "--yes" in result.err
    assert "alpha" in worker.sessions


def test_delete_with_a_yes_deletes(cli: Cli, worker: FakeWorker) -> None:
    """Delete with a yes deletes."""
    worker.add_session("alpha")
    assert cli("sessions", "delete", "alpha", "--yes").out == "deleted alpha\n"
    assert worker.sessions == {}


def test_a_refusal_has_its_reason_a_hint_and_exit_code_1(cli: Cli, worker: FakeWorker) -> None:
    """A refusal has its reason a hint and exit code 1."""
    assert worker.sessions == {}
    result = cli("sessions", "show", "nope")
    assert result.code == 1
    assert "there is no session with this id (SESSION_NOT_FOUND)" in result.words
    assert "gateway-worker sessions list" in result.words
    assert result.out == ""


def test_a_refusal_as_json_goes_to_stderr(cli: Cli, worker: FakeWorker) -> None:
    """A refusal as JSON goes to stderr."""
    worker.refusals["LogoutSession"] = Refuse(
        grpc.StatusCode.UNAVAILABLE, "SESSION_RECONNECTING", message="wait", retry_after=2.5, metadata={"a": "b"}
    )
    result = cli("sessions", "logout", "alpha", "--json")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        '{"error": {"code": "UNAVAILABLE", "reason": "SESSION_RECONNECTING", "message": "wait", "violations": [], '
        '"retryAfterSeconds": 2.5, "metadata": {"a": "b"}}}\n'
    )
