"""The life cycle of a session, as a pure function.

:func:`advance` takes the present :class:`Lifecycle` and a :class:`Signal` and returns the next one. It knows no clock,
no engine and no database; the actor of a session applies it and acts on the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeAlias


class State(IntEnum):
    """States; the numbers are those of ``wagateway.worker.v1.SessionState``."""

    CREATED = 1
    CONNECTING = 2
    PAIRING = 3
    CONNECTED = 4
    RECONNECTING = 5
    DISCONNECTED = 6
    LOGGED_OUT = 7
    BANNED = 8
    REPLACED = 9
    FAILED = 10


class Reason(IntEnum):
    """Reasons; the numbers are those of ``wagateway.worker.v1.StateReason``."""

    NONE = 0
    REQUESTED = 1
    RECOVERY = 2
    CODE_OFFERED = 3
    LINKED = 4
    PAIRING_TIMED_OUT = 5
    PAIRING_REFUSED = 6
    MULTIDEVICE_DISABLED = 7
    PASSKEY_REQUIRED = 8
    CLIENT_OUTDATED = 9
    CONNECTION_LOST = 10
    KEEPALIVE_TIMED_OUT = 11
    ENGINE_LOST = 12
    DEVICE_REMOVED = 13
    LOGIN_REFUSED = 14
    STREAM_REPLACED = 15
    ACCOUNT_BANNED = 16
    SERVER_UNAVAILABLE = 17
    AUTH_STATE_UNREADABLE = 18
    STORAGE_FULL = 19


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Where a session is.

    Attributes:
        state: The state.
        reason: Why.
        linked: Whether an account knows this device, so that its auth state is worth keeping.
        wanted: Whether the session is meant to be connected; such a session is reconnected after restarts.
        banned_until: End of a temporary ban in Unix seconds, where WhatsApp told it.
    """

    state: State = State.CREATED
    reason: Reason = Reason.NONE
    linked: bool = False
    wanted: bool = False
    banned_until: float | None = None

    @property
    def needs_client(self) -> bool:
        """Whether a client should be live in some engine."""
        return self.wanted and self.state in _WITH_CLIENT


_WITH_CLIENT = frozenset({State.CONNECTING, State.PAIRING, State.CONNECTED, State.RECONNECTING})


# Signals: what clients ask for, what engines report, what the worker notices.
@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """A client called ConnectSession."""


@dataclass(frozen=True, slots=True)
class DisconnectRequested:
    """A client called DisconnectSession."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The worker started and found the session in its database."""


@dataclass(frozen=True, slots=True)
class CodeOffered:
    """The client offers a QR code or pairing code."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A phone linked the device; the client reconnects by itself and logs in."""


@dataclass(frozen=True, slots=True)
class LinkingEnded:
    """Linking ended without a link, for the given reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The client is logged in."""


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection is lost or could not be made, for the given reason; it is tried again."""

    reason: Reason = Reason.CONNECTION_LOST


@dataclass(frozen=True, slots=True)
class KeepaliveRestored:
    """The server answers pings again on the same connection."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The account no longer knows the device: REQUESTED by a client, or DEVICE_REMOVED."""

    reason: Reason = Reason.DEVICE_REMOVED


@dataclass(frozen=True, slots=True)
class StreamReplaced:
    """Another client connected as this device."""


@dataclass(frozen=True, slots=True)
class Banned:
    """WhatsApp banned the account, until the given Unix time if it said so."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class BanEnded:
    """The time of a temporary ban is over."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The session cannot go on by itself, for the given reason."""

    reason: Reason


Signal: TypeAlias = (
    ConnectRequested
    | DisconnectRequested
    | Recovered
    | CodeOffered
    | Linked
    | LinkingEnded
    | LoggedIn
    | ConnectionLost
    | KeepaliveRestored
    | LoggedOut
    | StreamReplaced
    | Banned
    | BanEnded
    | Failed
)

_FATAL_FOR_LINKING = frozenset({Reason.CLIENT_OUTDATED, Reason.PASSKEY_REQUIRED, Reason.MULTIDEVICE_DISABLED})


def advance(now: Lifecycle, signal: Signal) -> Lifecycle:  # noqa: C901, PLR0912 - one row a signal reads best
    """Return the life cycle after ``signal``; the same object when the signal changes nothing."""
    match signal:
        case ConnectRequested():
            if now.needs_client:
                return now
            return replace(now, state=State.CONNECTING, reason=Reason.REQUESTED, wanted=True, banned_until=None)
        case DisconnectRequested():
            if now.needs_client or now.state is State.BANNED:
                return replace(now, state=State.DISCONNECTED, reason=Reason.REQUESTED, wanted=False, banned_until=None)
            return replace(now, wanted=False) if now.wanted else now
        case Recovered():
            return _recover(now)
        case LoggedOut(reason):
            return Lifecycle(State.LOGGED_OUT, reason)
        case StreamReplaced():
            return replace(now, state=State.REPLACED, reason=Reason.STREAM_REPLACED, wanted=False, banned_until=None)
        case Banned(until):
            return replace(now, state=State.BANNED, reason=Reason.ACCOUNT_BANNED, banned_until=until)
        case BanEnded():
            if now.state is not State.BANNED or not now.wanted:
                return now
            return replace(now, state=State.RECONNECTING, reason=Reason.ACCOUNT_BANNED, banned_until=None)
        case Failed(reason):
            return replace(now, state=State.FAILED, reason=reason, wanted=False, banned_until=None)
        case _ if not now.needs_client:
            return now  # late news of a client that nobody wants any more
        case CodeOffered():
            if now.linked or now.state is State.PAIRING:
                return now
            return replace(now, state=State.PAIRING, reason=Reason.CODE_OFFERED)
        case Linked():
            return replace(now, state=State.CONNECTING, reason=Reason.LINKED, linked=True)
        case LinkingEnded(reason):
            if now.linked:
                return now
            state = State.FAILED if reason in _FATAL_FOR_LINKING else State.DISCONNECTED
            return replace(now, state=state, reason=reason, wanted=False)
        case LoggedIn():
            return replace(now, state=State.CONNECTED, reason=Reason.NONE, linked=True)
        case ConnectionLost(reason):
            state = State.RECONNECTING if now.linked else State.CONNECTING
            if now.state is state is State.RECONNECTING and reason is Reason.CONNECTION_LOST:
                return now  # the reason that is known already says more
            return replace(now, state=state, reason=reason)
        case KeepaliveRestored():
            if now.state is State.RECONNECTING and now.reason is Reason.KEEPALIVE_TIMED_OUT:
                return replace(now, state=State.CONNECTED, reason=Reason.NONE)
            return now


def _recover(now: Lifecycle) -> Lifecycle:
    """What a session read from the database is after a restart: no client is live yet, no code is valid."""
    if now.state is State.BANNED or not now.wanted:
        return now
    if not now.linked:  # its codes died with the old process, and nobody may be waiting for new ones
        return replace(now, state=State.DISCONNECTED, reason=Reason.RECOVERY, wanted=False)
    return replace(now, state=State.RECONNECTING, reason=Reason.RECOVERY)
