"""What the client library's error texts mean: whether anything was sent, and what may be done about it.

Go hands errors over as text. The texts are whatsmeow's (``errors.go``, ``send.go``, ``request.go``, ``upload.go``), in
the order in which a send meets them: whatever happens before the message's frame is given to the socket carries the
prefix of the step that failed; what happens afterwards is a bare text. The same inner text can therefore mean two
things: ``failed to send message node: websocket not connected`` was not sent, a bare ``websocket not connected`` comes
from the attempt to repeat a frame that had gone out when the connection broke. A text that is not known is never taken
for "not sent".
"""

from __future__ import annotations

import re
from typing import Final

from wagateway.engine.v1 import engine_pb2

NOT_LIVE: Final = "client is nil"
_NOT_LINKED: Final = "the store doesn't contain a device JID"
_NO_SOCKET: Final = ("websocket not connected", "frame socket is closed")
_DISCONNECTED_IN_QUERY: Final = "websocket disconnected before info query"
_QUERY_TIMED_OUT: Final = "info query timed out"
_SERVER_REFUSED: Final = re.compile(r"^server returned error (\d+)")
_QUERY_REFUSED: Final = re.compile(r"info query returned status (\d+)")
_WRITING: Final = "failed to send message node: "
_BEFORE_SOCKET: Final = ("failed to marshal node", "frame too large")
_NO_RECIPIENT: Final = (
    "no LID found for ",
    "sending to non-status broadcast lists is not yet supported",
    "can't send message to unknown server",
    "you're not participating in that group",
    "that group does not exist",
)
_PREPARING: Final = (
    "message recipient must be a user JID with no device part",
    "failed to get LID for PN ",
    "failed to get user info for ",
    "no LID found for ",
    "failed to get group members: ",
    "failed to get broadcast list members: ",
    "sending to non-status broadcast lists is not yet supported",
    "can't send message to unknown server",
    "failed to marshal message",
    "failed to get device list: ",
    "failed to fetch LID mappings: ",
    "failed to prefetch sessions: ",
    "failed to save cached sessions: ",
    "failed to create sender key distribution message",
    "failed to marshal sender key distribution message",
    "failed to encrypt group message",
    "proto:",
    "the store doesn't contain a device JID",
    NOT_LIVE,
)
"""How errors begin that end a send before its frame is written."""

_CONNECTING: Final = (
    "failed to dial whatsapp web websocket",
    "noise handshake failed",
    "websocket is already connected",
)
"""How errors begin that a client's first connection fails with; the others of its start concern the database."""


class CommandFailedError(Exception):
    """A command was not carried out.

    Attributes:
        failure: What is told to the worker.
    """

    def __init__(self, kind: engine_pb2.FailureKind.ValueType, detail: str = "", server_code: int = 0) -> None:
        self.failure = engine_pb2.Failure(kind=kind, server_code=server_code, detail=detail)
        super().__init__(engine_pb2.FailureKind.Name(kind))


def send_failure(text: str) -> CommandFailedError:
    """Classify an error of ``SendMessage``."""
    if refused := _SERVER_REFUSED.search(text):
        return CommandFailedError(engine_pb2.FAILURE_KIND_REFUSED, text, int(refused[1]))
    if text.startswith(_WRITING):
        # A write that failed may have been flushed: the websocket library reports a close that it notices afterwards.
        cause = text.removeprefix(_WRITING)
        if cause.startswith(_NO_SOCKET):
            return CommandFailedError(engine_pb2.FAILURE_KIND_NOT_CONNECTED, text)
        sent = not cause.startswith(_BEFORE_SOCKET)
        kind = engine_pb2.FAILURE_KIND_FATE_UNKNOWN if sent else engine_pb2.FAILURE_KIND_INTERNAL
        return CommandFailedError(kind, text)
    if text.startswith(_PREPARING):
        return unsent_failure(text)
    return CommandFailedError(engine_pb2.FAILURE_KIND_FATE_UNKNOWN, text)


def unsent_failure(text: str) -> CommandFailedError:
    """Classify an error that no message was sent with: of a step before the wire, or of a call that sends none."""
    if refused := _QUERY_REFUSED.search(text):
        return CommandFailedError(engine_pb2.FAILURE_KIND_REFUSED, text, int(refused[1]))
    if any(part in text for part in (*_NO_SOCKET, _DISCONNECTED_IN_QUERY, _QUERY_TIMED_OUT)):
        return CommandFailedError(engine_pb2.FAILURE_KIND_NOT_CONNECTED, text)
    if _NOT_LINKED in text:
        return CommandFailedError(engine_pb2.FAILURE_KIND_NOT_LINKED, text)
    if any(part in text for part in _NO_RECIPIENT):
        return CommandFailedError(engine_pb2.FAILURE_KIND_NO_RECIPIENT, text)
    if NOT_LIVE in text:
        return CommandFailedError(engine_pb2.FAILURE_KIND_NOT_LIVE, text)
    return CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, text)


def upload_failure(text: str) -> CommandFailedError:
    """Classify an error of ``Upload``: the media hosts could not be asked for, or did not take it."""
    if any(part in text for part in (*_NO_SOCKET, _DISCONNECTED_IN_QUERY)):
        return CommandFailedError(engine_pb2.FAILURE_KIND_NOT_CONNECTED, text)
    return CommandFailedError(engine_pb2.FAILURE_KIND_UPLOAD_FAILED, text)


def start_failure(text: str) -> engine_pb2.EndReason.ValueType:
    """Why a client ended before its event loop began."""
    if text.startswith(_CONNECTING):
        return engine_pb2.END_REASON_CONNECT_FAILED
    return engine_pb2.END_REASON_DATABASE_UNREADABLE
