"""What a state means for a caller who wants to send."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway_worker.domain.errors import (
    AccountBannedError,
    GatewayError,
    LoggedOutError,
    NotConnectedError,
    NotLinkedError,
    ReconnectingError,
    SessionFailedError,
    SessionReplacedError,
)
from gateway_worker.domain.lifecycle import Lifecycle, State

_RETRY = 2.0


def refusal(lifecycle: Lifecycle) -> GatewayError:
    """The error for a send in a state that is not CONNECTED."""
    match lifecycle.state:
        case State.LOGGED_OUT:
            return LoggedOutError()
        case State.BANNED:
            until = lifecycle.banned_until
            moment = datetime.fromtimestamp(until, UTC).isoformat() if until is not None else None
            return AccountBannedError(metadata={"banned_until": moment} if moment else None)
        case State.REPLACED:
            return SessionReplacedError()
        case State.FAILED:
            return SessionFailedError(metadata={"state_reason": lifecycle.reason.name})
        case _ if not lifecycle.linked:
            return NotLinkedError()
        case State.RECONNECTING | State.CONNECTING:
            return ReconnectingError(retry_after=_RETRY)
        case _:
            return NotConnectedError()
