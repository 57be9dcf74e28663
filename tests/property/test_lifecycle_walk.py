"""Any sequence of signals keeps the promises of the life cycle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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

reasons = st.sampled_from(Reason)
signals: st.SearchStrategy[Signal] = st.one_of(
    st.sampled_from(
        [
            ConnectRequested(),
            DisconnectRequested(),
            Recovered(),
            CodeOffered(),
            Linked(),
            LoggedIn(),
            KeepaliveRestored(),
            StreamReplaced(),
            BanEnded(),
        ]
    ),
    st.builds(LinkingEnded, reasons),
    st.builds(ConnectionLost, reasons),
    st.builds(LoggedOut, reasons),
    st.builds(Failed, reasons),
    st.builds(Banned, st.none() | st.floats(min_value=0, max_value=1e10)),
)


@given(st.lists(signals, max_size=40))
def test_every_walk_keeps_the_invariants(walk: list[Signal]) -> None:
    """Whatever happens in whatever order, the states mean what they say."""
    now = Lifecycle()
    for signal in walk:
        before, now = now, advance(now, signal)
        assert advance(before, signal) == now, "a pure function"
        if now.state is State.CONNECTED:
            assert now.linked
            assert now.wanted
        if now.state is State.PAIRING:
            assert not now.linked
        if now.state is State.RECONNECTING:
            assert now.linked
            assert now.wanted
        if now.state in (State.LOGGED_OUT, State.REPLACED, State.FAILED):
            assert not now.needs_client
        if now.state is State.LOGGED_OUT:
            assert not now.linked
        if now.banned_until is not None:
            assert now.state is State.BANNED
        if isinstance(signal, DisconnectRequested):
            assert not now.needs_client
        if isinstance(signal, ConnectRequested):
            assert now.needs_client
