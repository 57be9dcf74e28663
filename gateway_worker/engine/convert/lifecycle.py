"""What happens to a client's connection and to its account.

An empty payload stands for one that the library could not encode: the event happened, its details are not known.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.engine.convert import jids
from gateway_worker.waproto import neonize
from wagateway.engine.v1 import engine_pb2

_REASONS: Final = {
    neonize.GENERIC: 400,
    neonize.LOGGED_OUT: 401,
    neonize.TEMP_BANNED: 402,
    neonize.MAIN_DEVICE_GONE: 403,
    neonize.CLIENT_OUTDATED: 405,
    neonize.UNKNOWN_LOGOUT: 406,
    neonize.BAD_USER_AGENT: 409,
    neonize.INTERNAL_SERVER_ERROR: 500,
    neonize.EXPERIMENTAL: 501,
    neonize.SERVICE_UNAVAILABLE: 503,
}
"""WhatsApp's codes of neonize's names for why a login fails."""

_BANS: Final = {
    neonize.TemporaryBan.SEND_TO_TOO_MANY_PEOPLE: 101,
    neonize.TemporaryBan.BLOCKED_BY_USERS: 102,
    neonize.TemporaryBan.CREATED_TOO_MANY_GROUPS: 103,
    neonize.TemporaryBan.SENT_TOO_MANY_SAME_MESSAGE: 104,
    neonize.TemporaryBan.BROADCAST_LIST: 106,
}
"""WhatsApp's codes of neonize's names for why an account is banned."""


def paired(device: bytes) -> engine_pb2.Paired:
    """Say which account the device was linked to; ``device`` is neonize's ``Device``."""
    known = neonize.Device.FromString(device)
    return engine_pb2.Paired(jid=jids.device_text(known.JID), lid=jids.user_text(known.LID))


def logged_in(device: bytes) -> engine_pb2.LoggedIn:
    """Say as whom the client is logged in; ``device`` is neonize's ``Device``."""
    known = neonize.Device.FromString(device)
    return engine_pb2.LoggedIn(jid=jids.device_text(known.JID), lid=jids.user_text(known.LID), push_name=known.PushName)


def logged_out(payload: bytes) -> engine_pb2.LoggedOut:
    """Convert neonize's ``LoggedOut``; the reason of one while connected is made up by the library and left out."""
    if not payload:
        return engine_pb2.LoggedOut()
    told = neonize.LoggedOut.FromString(payload)
    return engine_pb2.LoggedOut(code=_REASONS.get(told.Reason, 0) if told.OnConnect else 0)


def temporarily_banned(payload: bytes, seen_ns: int) -> engine_pb2.TemporarilyBanned:
    """Convert neonize's ``TemporaryBan``, which tells the seconds left at ``seen_ns`` (Unix nanoseconds)."""
    if not payload:
        return engine_pb2.TemporarilyBanned()
    told = neonize.TemporaryBan.FromString(payload)
    banned = engine_pb2.TemporarilyBanned(code=_BANS.get(told.Code, 0))
    if told.Expire > 0:
        banned.until.CopyFrom(Timestamp(seconds=seen_ns // 1_000_000_000 + told.Expire))
    return banned


def login_refused(payload: bytes) -> engine_pb2.LoginRefused:
    """Convert neonize's ``ConnectFailure``."""
    if not payload:
        return engine_pb2.LoginRefused()
    told = neonize.ConnectFailure.FromString(payload)
    return engine_pb2.LoginRefused(code=_REASONS.get(told.Reason, 0))


def stream_error(payload: bytes) -> engine_pb2.StreamError:
    """Convert neonize's ``StreamError``."""
    return engine_pb2.StreamError(code=neonize.StreamError.FromString(payload).Code)


def keepalive_timed_out(payload: bytes) -> engine_pb2.KeepaliveTimedOut:
    """Convert neonize's ``KeepAliveTimeout``."""
    return engine_pb2.KeepaliveTimedOut(errors=max(0, neonize.KeepAliveTimeout.FromString(payload).ErrorCount))
