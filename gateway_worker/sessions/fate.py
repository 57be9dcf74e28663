"""What became of a message that was not acknowledged.

The client library stores (secret, message id) in the session's database before the wire. So a secret that is not there
was never sent, and one that is there may have been: its id is known, and receipts settle it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway_worker.domain.errors import (
    AccountRestrictedError,
    EngineUnavailableError,
    GatewayError,
    InvalidMediaError,
    LoggedOutError,
    MessageRefusedError,
    NoRecipientError,
    ReconnectingError,
    StoreUnavailableError,
    UploadFailedError,
    Violation,
)
from gateway_worker.domain.ids import SessionKey
from gateway_worker.ports.auth import AuthStates
from gateway_worker.ports.journal import Journal, MarkUnknown, Operation, Outbox, Release
from gateway_worker.sessions.commits import commit_until_stored
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_RESTRICTED = 463  # WhatsApp's code for accounts that may not start new chats for a while
_RETRY = 2.0

_ERRORS: dict[int, Callable[[], GatewayError]] = {
    engine_pb2.FAILURE_KIND_NOT_LINKED: LoggedOutError,
    engine_pb2.FAILURE_KIND_NO_RECIPIENT: NoRecipientError,
    engine_pb2.FAILURE_KIND_NOT_CONNECTED: lambda: ReconnectingError(retry_after=_RETRY),
    engine_pb2.FAILURE_KIND_FATE_UNKNOWN: lambda: ReconnectingError(retry_after=_RETRY),
    engine_pb2.FAILURE_KIND_UPLOAD_FAILED: lambda: UploadFailedError(retry_after=_RETRY),
    engine_pb2.FAILURE_KIND_INVALID_MEDIA: lambda: InvalidMediaError(
        Violation("image.source", "must be a readable JPEG, PNG or WebP image")
    ),
}


def may_be_on_its_way(failure: engine_pb2.Failure | None) -> bool:
    """Whether a send may have reached WhatsApp; ``failure`` is None when the engine died."""
    return failure is None or failure.kind in (
        engine_pb2.FAILURE_KIND_FATE_UNKNOWN,
        engine_pb2.FAILURE_KIND_UNSPECIFIED,
    )


def error_of(failure: engine_pb2.Failure | None) -> GatewayError:
    """The error for a send that provably was not delivered; ``failure`` is None when the engine died."""
    if failure is None:
        return EngineUnavailableError(retry_after=_RETRY)
    if failure.kind == engine_pb2.FAILURE_KIND_REFUSED:
        metadata = {"server_code": str(failure.server_code)}
        restricted = failure.server_code == _RESTRICTED
        return AccountRestrictedError(metadata=metadata) if restricted else MessageRefusedError(metadata=metadata)
    if failure.kind in _ERRORS:
        return _ERRORS[failure.kind]()
    logger.warning("an engine did not send: %s", engine_pb2.FailureKind.Name(failure.kind))
    return EngineUnavailableError(retry_after=_RETRY)


async def settle_leftovers(
    outbox: Outbox, journal: Journal, auth: AuthStates, generation: Callable[[SessionKey], int | None]
) -> None:
    """Settle the sends that a dead worker left behind. No engine runs yet, and spools were imported.

    ``generation`` returns the auth database in use, None for a session that is gone.
    """
    for record in await outbox.unsettled():
        current = generation(record.key)
        settle: Operation = Release(record.send_id)
        if current is not None:
            try:
                message_id = await auth.message_of_secret(record.key, current, record.secret)
            except StoreUnavailableError:
                logger.exception("session %s: its auth database cannot be read", record.key.session)
                settle = MarkUnknown(record.send_id)
            else:
                if message_id is not None:
                    settle = MarkUnknown(record.send_id, message_id)
        await commit_until_stored(journal, [settle])
