"""Everything that can go wrong and that a client is told about.

Each class carries a stable reason (``google.rpc.ErrorInfo.reason``); ``service/errors.py`` maps classes to gRPC
statuses in one table. Messages are written for clients: they never hold a library's text, a number or a secret.

::

    GatewayError
    ├── InvalidArgumentError        the request is wrong whatever the state
    │   ├── InvalidRecipientError   └── InvalidCursorError   └── InvalidMediaError
    ├── NotFoundError               SessionNotFoundError
    ├── AlreadyExistsError          SessionExistsError, IdempotencyKeyReusedError
    ├── PreconditionError           the session's state forbids it, and waiting does not help
    │   ├── NotLinkedError, NotConnectedError, LoggedOutError, NotPairingError, SessionReplacedError,
    │   └── SessionFailedError, AccountBannedError, MessageRefusedError, NoRecipientError
    ├── ExhaustedError              WaitTooLongError, SlowConsumerError, AccountRestrictedError
    ├── CursorExpiredError
    ├── UnavailableError            nothing happened; the same call may succeed later
    │   └── ReconnectingError, EngineUnavailableError, StoreUnavailableError, DrainingError, UploadFailedError
    └── FateUnknownError            something may have been sent; do not repeat blindly
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong: its path (``options.quoted.message_id``) and what is accepted."""

    field: str
    description: str


class GatewayError(Exception):
    """Base of all errors that clients see.

    Args:
        message: One sentence for the client.
        retry_after: Seconds after which trying again makes sense; None when unknown or useless.
        metadata: Further facts for ErrorInfo, for example ``{"banned_until": "2030-01-01T00:00:00Z"}``.
    """

    reason: ClassVar[str] = "INTERNAL"
    default_message: ClassVar[str] = "internal error"

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.retry_after = retry_after
        self.metadata = metadata or {}
        super().__init__(self.message)


class InvalidArgumentError(GatewayError):
    """The request is wrong whatever the state; ``violations`` name the fields."""

    reason = "INVALID_ARGUMENT"
    default_message = "the request is not valid"

    def __init__(self, *violations: Violation, message: str = "") -> None:
        self.violations = violations
        details = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        super().__init__(message or details)


class InvalidRecipientError(InvalidArgumentError):
    """A recipient is none of the accepted forms."""

    reason = "INVALID_RECIPIENT"


class InvalidCursorError(InvalidArgumentError):
    """A cursor was never issued by this gateway."""

    reason = "INVALID_CURSOR"

    def __init__(self) -> None:
        super().__init__(Violation("cursor", "must be a cursor from an event, a heartbeat or an acknowledgement"))


class InvalidMediaError(InvalidArgumentError):
    """Media bytes are not what the content says they are."""

    reason = "INVALID_MEDIA"


class NotFoundError(GatewayError):
    """Something named in the request does not exist for this caller."""


class SessionNotFoundError(NotFoundError):
    """No session of this tenant has the id."""

    reason = "SESSION_NOT_FOUND"
    default_message = "there is no session with this id"


class AlreadyExistsError(GatewayError):
    """Something with this key exists and is not the same."""


class SessionExistsError(AlreadyExistsError):
    """The session id is taken."""

    reason = "SESSION_EXISTS"
    default_message = "a session with this id exists"


class IdempotencyKeyReusedError(AlreadyExistsError):
    """The idempotency key was used for other content."""

    reason = "IDEMPOTENCY_KEY_REUSED"
    default_message = "this idempotency key was used for a different message within the last 7 days"


class PreconditionError(GatewayError):
    """The state of the session forbids it, and waiting does not help."""


class NotLinkedError(PreconditionError):
    """The session is not linked to an account."""

    reason = "SESSION_NOT_LINKED"
    default_message = "the session is not linked to an account: call ConnectSession and scan the code"


class NotConnectedError(PreconditionError):
    """The session is linked, but nobody asked for it to be connected."""

    reason = "SESSION_NOT_CONNECTED"
    default_message = "the session is not connected: call ConnectSession"


class LoggedOutError(PreconditionError):
    """The account no longer knows this device."""

    reason = "SESSION_LOGGED_OUT"
    default_message = "the account removed this device: call ConnectSession to link it again"


class NotPairingError(PreconditionError):
    """No code is offered now."""

    reason = "NOT_PAIRING"
    default_message = "the session offers no code: call ConnectSession on a session that is not linked"


class SessionReplacedError(PreconditionError):
    """Another client took over this device."""

    reason = "SESSION_REPLACED"
    default_message = "another client took over this device: call ConnectSession to take it back"


class SessionFailedError(PreconditionError):
    """The session cannot go on by itself; ``metadata["state_reason"]`` says why."""

    reason = "SESSION_FAILED"
    default_message = "the session failed: see its status"


class AccountBannedError(PreconditionError):
    """WhatsApp banned the account; ``metadata["banned_until"]`` when it said until when."""

    reason = "ACCOUNT_BANNED"
    default_message = "WhatsApp banned the account"


class MessageRefusedError(PreconditionError):
    """WhatsApp's server refused the message; ``metadata["server_code"]`` is its code. Nothing was delivered."""

    reason = "MESSAGE_REFUSED"
    default_message = "WhatsApp refused the message"


class NoRecipientError(PreconditionError):
    """The recipient has no WhatsApp account, or none that can be written to."""

    reason = "RECIPIENT_NOT_ON_WHATSAPP"
    default_message = "the recipient has no WhatsApp account"


class ExhaustedError(GatewayError):
    """A limit was reached."""


class WaitTooLongError(ExhaustedError):
    """The send would have waited beyond the call's deadline. Nothing was sent."""

    reason = "WAIT_EXCEEDS_DEADLINE"
    default_message = "the message would have to wait longer than the call's deadline; nothing was sent"


class SlowConsumerError(ExhaustedError):
    """The client did not read its stream; it may go on from its last cursor."""

    reason = "SLOW_CONSUMER"
    default_message = "the stream was not read fast enough: open it again from the last cursor"


class AccountRestrictedError(ExhaustedError):
    """WhatsApp restricts the account from writing to new contacts (code 463)."""

    reason = "ACCOUNT_RESTRICTED"
    default_message = "WhatsApp restricts this account from starting new chats for now"


class CursorExpiredError(GatewayError):
    """The journal no longer reaches back to the cursor; ``metadata["oldest_cursor"]`` is the oldest one."""

    reason = "CURSOR_EXPIRED"
    default_message = "the journal no longer reaches back to this cursor"


class UnavailableError(GatewayError):
    """Nothing happened; the same call may succeed later."""


class ReconnectingError(UnavailableError):
    """The session is linked and on its way back."""

    reason = "SESSION_RECONNECTING"
    default_message = "the session is reconnecting; nothing was sent"


class EngineUnavailableError(UnavailableError):
    """The engine process of the session is being replaced."""

    reason = "ENGINE_UNAVAILABLE"
    default_message = "the session's engine is restarting; nothing was sent"


class StoreUnavailableError(UnavailableError):
    """The database does not answer, or its disk is full."""

    reason = "STORE_UNAVAILABLE"
    default_message = "the gateway's database is not available; nothing was sent"


class DrainingError(UnavailableError):
    """This worker is shutting down."""

    reason = "WORKER_DRAINING"
    default_message = "this worker is shutting down"


class UploadFailedError(UnavailableError):
    """WhatsApp did not take the media. Nothing was sent."""

    reason = "MEDIA_UPLOAD_FAILED"
    default_message = "WhatsApp did not take the media; nothing was sent"


class FateUnknownError(GatewayError):
    """The message may or may not have been sent; ``metadata["message_id"]`` when its id is known.

    Status events settle it where the id is known. It is never repeated silently.
    """

    reason = "SEND_FATE_UNKNOWN"
    default_message = "it is not known whether the message was sent: WhatsApp's answer did not come"
