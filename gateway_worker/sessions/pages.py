"""Pages of the list of sessions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from gateway_worker.domain.errors import InvalidArgumentError, Violation
from gateway_worker.domain.ids import is_name
from gateway_worker.ports.records import SessionRecord
from gateway_worker.sessions.encode import session_message
from wagateway.worker.v1 import worker_pb2

_DEFAULT_SIZE = 100


def page_of(
    records: Iterable[SessionRecord], request: worker_pb2.ListSessionsRequest
) -> worker_pb2.ListSessionsResponse:
    """One page of sessions by id. A token names the last session of its page, so pages stay right when others change.

    Raises:
        InvalidArgumentError: The token is none that was given out.
    """
    after = _session_of(request.page_token) if request.page_token else ""
    size = request.page_size or _DEFAULT_SIZE
    states = {int(state) for state in request.states}
    wanted = sorted(
        (
            record
            for record in records
            if record.key.session > after and (not states or int(record.lifecycle.state) in states)
        ),
        key=lambda record: record.key.session,
    )
    response = worker_pb2.ListSessionsResponse(sessions=[session_message(record) for record in wanted[:size]])
    if len(wanted) > size:
        response.next_page_token = _token_of(wanted[size - 1].key.session)
    return response


def _token_of(session: str) -> str:
    return base64.urlsafe_b64encode(session.encode()).decode().rstrip("=")


def _session_of(token: str) -> str:
    try:
        session = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        session = ""
    if not is_name(session):
        raise InvalidArgumentError(Violation("page_token", "must be the next_page_token of an earlier answer"))
    return session
