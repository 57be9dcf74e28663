"""What is known of a send by its error's text. The texts are whatsmeow's."""

from __future__ import annotations

import pytest

from gateway_worker.engine.failures import send_failure, start_failure, unsent_failure, upload_failure
from wagateway.engine.v1 import engine_pb2 as pb


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("server returned error 463", pb.FAILURE_KIND_REFUSED, 463),
        ("server returned error 479", pb.FAILURE_KIND_REFUSED, 479),
        ("timed out waiting for message send response", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("websocket disconnected before message send returned response", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("websocket disconnected before message send (retry) returned response", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("failed to send message node: websocket not connected", pb.FAILURE_KIND_NOT_CONNECTED, 0),
        ("failed to send message node: frame socket is closed", pb.FAILURE_KIND_NOT_CONNECTED, 0),
        ("failed to send message node: failed to marshal node: invalid", pb.FAILURE_KIND_INTERNAL, 0),
        ("failed to send message node: frame too large (got 17 bytes)", pb.FAILURE_KIND_INTERNAL, 0),
        ("failed to send message node: use of closed network connection", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("websocket not connected", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("frame socket is closed", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("the store doesn't contain a device JID", pb.FAILURE_KIND_NOT_LINKED, 0),
        ("client is nil", pb.FAILURE_KIND_NOT_LIVE, 0),
        ("no LID found for 6281200000001@s.whatsapp.net from server", pb.FAILURE_KIND_NO_RECIPIENT, 0),
        ("failed to get group members: that group does not exist", pb.FAILURE_KIND_NO_RECIPIENT, 0),
        ("failed to get group members: you're not participating in that group", pb.FAILURE_KIND_NO_RECIPIENT, 0),
        ("can't send message to unknown server nowhere", pb.FAILURE_KIND_NO_RECIPIENT, 0),
        (
            "failed to get user info for 1@s.whatsapp.net to fill LID cache: websocket not connected",
            pb.FAILURE_KIND_NOT_CONNECTED,
            0,
        ),
        (
            "failed to get user info for 1@s.whatsapp.net to fill LID cache: info query timed out",
            pb.FAILURE_KIND_NOT_CONNECTED,
            0,
        ),
        (
            "failed to get device list: websocket disconnected before info query returned response",
            pb.FAILURE_KIND_NOT_CONNECTED,
            0,
        ),
        (
            "failed to get device list: info query returned status 429: rate-overlimit",
            pb.FAILURE_KIND_REFUSED,
            429,
        ),
        ("failed to save cached sessions: database or disk is full", pb.FAILURE_KIND_INTERNAL, 0),
        ("proto:\u00a0cannot parse invalid wire-format data", pb.FAILURE_KIND_INTERNAL, 0),
        ("something that a later version says", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
        ("", pb.FAILURE_KIND_FATE_UNKNOWN, 0),
    ],
)
def test_a_failed_send(text: str, kind: pb.FailureKind.ValueType, code: int) -> None:
    """Only what provably came before the wire is "not sent"; a text that is not known is "unknown"."""
    failure = send_failure(text).failure
    assert (pb.FailureKind.Name(failure.kind), failure.server_code) == (pb.FailureKind.Name(kind), code)
    assert failure.detail == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("websocket not connected", pb.FAILURE_KIND_NOT_CONNECTED),
        ("can't send presence without PushName set", pb.FAILURE_KIND_INTERNAL),
        ("error sending logout request: info query timed out", pb.FAILURE_KIND_NOT_CONNECTED),
        ("the store doesn't contain a device JID", pb.FAILURE_KIND_NOT_LINKED),
    ],
)
def test_a_failed_call_that_sends_no_message(text: str, kind: pb.FailureKind.ValueType) -> None:
    """A call that sends no message has no unknown fate."""
    assert unsent_failure(text).failure.kind == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("failed to refresh media connections: websocket not connected", pb.FAILURE_KIND_NOT_CONNECTED),
        ("upload failed with status code 500", pb.FAILURE_KIND_UPLOAD_FAILED),
        ("failed to execute request: connection refused", pb.FAILURE_KIND_UPLOAD_FAILED),
    ],
)
def test_a_failed_upload(text: str, kind: pb.FailureKind.ValueType) -> None:
    """Nothing was sent, whatever went wrong with the media."""
    assert upload_failure(text).failure.kind == kind


def test_what_is_not_the_connection_is_the_database() -> None:
    """A client that could not begin failed to connect, or has a database that nobody can read."""
    assert start_failure("failed to dial whatsapp web websocket: refused") == pb.END_REASON_CONNECT_FAILED
    assert start_failure("unable to open database file") == pb.END_REASON_DATABASE_UNREADABLE
