"""The life cycle of a session, signal by signal."""

from __future__ import annotations

import pytest

from gateway_worker.domain.lifecycle import (
    BanEnded,
    Banned,
    CodeOffered,
    ConnectionLost,
    ConnectRequested,
    DisconnectRequested,
    Failed,
    KeepaliveRestored,
    Lifecycle,
    Linked,
    LinkingEnded,
    LoggedIn,
    LoggedOut,
    Reason,
    Recovered,
    Signal,
    State,
    StreamReplaced,
    advance,
)
from wagateway.worker.v1 import session_pb2


def after(*signals: Signal, start: Lifecycle | None = None) -> Lifecycle:
    """The life cycle after some signals."""
    now = start or Lifecycle()
    for signal in signals:
        now = advance(now, signal)
    return now


CONNECTED = after(ConnectRequested(), CodeOffered(), Linked(), LoggedIn())


def test_numbers_are_those_of_the_contract() -> None:
    """States and reasons can be put into messages by number."""
    states = {f"SESSION_STATE_{state.name}": state.value for state in State}
    contract = dict(session_pb2.SessionState.items())
    assert states == {name: number for name, number in contract.items() if number}
    reasons = {f"STATE_REASON_{reason.name}": reason.value for reason in Reason if reason}
    assert reasons == {name: number for name, number in session_pb2.StateReason.items() if number}


def test_linking_by_code_leads_to_connected() -> None:
    """Connect, code, link, login: each is a state with its reason."""
    now = after(ConnectRequested())
    assert (now.state, now.reason, now.wanted, now.linked) == (State.CONNECTING, Reason.REQUESTED, True, False)
    now = after(CodeOffered(), start=now)
    assert (now.state, now.reason) == (State.PAIRING, Reason.CODE_OFFERED)
    now = after(Linked(), start=now)
    assert (now.state, now.reason, now.linked) == (State.CONNECTING, Reason.LINKED, True)
    now = after(LoggedIn(), start=now)
    assert (now.state, now.reason, now.needs_client) == (State.CONNECTED, Reason.NONE, True)


@pytest.mark.parametrize(
    ("signal", "state", "reason", "linked", "wanted"),
    [
        (ConnectionLost(), State.RECONNECTING, Reason.CONNECTION_LOST, True, True),
        (ConnectionLost(Reason.ENGINE_LOST), State.RECONNECTING, Reason.ENGINE_LOST, True, True),
        (DisconnectRequested(), State.DISCONNECTED, Reason.REQUESTED, True, False),
        (LoggedOut(), State.LOGGED_OUT, Reason.DEVICE_REMOVED, False, False),
        (LoggedOut(Reason.REQUESTED), State.LOGGED_OUT, Reason.REQUESTED, False, False),
        (StreamReplaced(), State.REPLACED, Reason.STREAM_REPLACED, True, False),
        (Banned(100.0), State.BANNED, Reason.ACCOUNT_BANNED, True, True),
        (Failed(Reason.CLIENT_OUTDATED), State.FAILED, Reason.CLIENT_OUTDATED, True, False),
        (Recovered(), State.RECONNECTING, Reason.RECOVERY, True, True),
    ],
)
def test_what_ends_a_connection(signal: Signal, state: State, reason: Reason, linked: bool, wanted: bool) -> None:  # noqa: FBT001
    """Every end of a connection has a state and a reason of its own."""
    now = advance(CONNECTED, signal)
    assert (now.state, now.reason, now.linked, now.wanted) == (state, reason, linked, wanted)


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.PAIRING_TIMED_OUT, State.DISCONNECTED),
        (Reason.PAIRING_REFUSED, State.DISCONNECTED),
        (Reason.PASSKEY_REQUIRED, State.FAILED),
        (Reason.MULTIDEVICE_DISABLED, State.FAILED),
        (Reason.CLIENT_OUTDATED, State.FAILED),
    ],
)
def test_linking_that_ends_without_a_link_is_noticed(reason: Reason, state: State) -> None:
    """What a person can repeat leads to DISCONNECTED, what repeating cannot help to FAILED."""
    now = after(ConnectRequested(), CodeOffered(), LinkingEnded(reason))
    assert (now.state, now.reason, now.wanted) == (state, reason, False)


def test_a_lost_engine_restarts_linking() -> None:
    """An unlinked session whose engine dies connects again and is offered a new code."""
    now = after(ConnectRequested(), CodeOffered(), ConnectionLost(Reason.ENGINE_LOST))
    assert (now.state, now.reason) == (State.CONNECTING, Reason.ENGINE_LOST)
    assert after(CodeOffered(), start=now).state is State.PAIRING


def test_keepalive_time_out_and_return() -> None:
    """A socket that answers again is connected again, but only when that was the trouble."""
    silent = advance(CONNECTED, ConnectionLost(Reason.KEEPALIVE_TIMED_OUT))
    assert silent.state is State.RECONNECTING
    assert advance(silent, KeepaliveRestored()).state is State.CONNECTED
    lost = advance(CONNECTED, ConnectionLost())
    assert advance(lost, KeepaliveRestored()) is lost


def test_the_first_reason_of_a_reconnect_stays() -> None:
    """The generic news that follows a specific reason does not hide it."""
    now = after(ConnectionLost(Reason.SERVER_UNAVAILABLE), ConnectionLost(), start=CONNECTED)
    assert now.reason is Reason.SERVER_UNAVAILABLE


def test_a_ban_ends_by_itself() -> None:
    """After the stated time the session connects again, unless nobody wants it any more."""
    banned = advance(CONNECTED, Banned(100.0))
    assert not banned.needs_client
    assert advance(banned, BanEnded()).state is State.RECONNECTING
    given_up = advance(banned, DisconnectRequested())
    assert advance(given_up, BanEnded()) is given_up


def test_unlinked_sessions_do_not_link_by_themselves_after_a_restart() -> None:
    """Their codes died with the old process."""
    now = after(ConnectRequested(), CodeOffered(), Recovered())
    assert (now.state, now.reason, now.wanted) == (State.DISCONNECTED, Reason.RECOVERY, False)


def test_connecting_twice_changes_nothing() -> None:
    """Asking again for a session on its way is no news."""
    assert advance(CONNECTED, ConnectRequested()) is CONNECTED


def test_late_news_of_an_unwanted_client_change_nothing() -> None:
    """A disconnected session stays disconnected whatever its old client still tells."""
    now = advance(CONNECTED, DisconnectRequested())
    for signal in (LoggedIn(), CodeOffered(), ConnectionLost(), KeepaliveRestored(), Linked()):
        assert advance(now, signal) is now
