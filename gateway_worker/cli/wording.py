"""The contract's values in a person's words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from wagateway.worker.v1 import content_pb2, event_pb2, session_pb2

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

# Each completes "the session is …:"; a state that says it all has none.
REASONS: Final[dict[int, str]] = {
    session_pb2.STATE_REASON_UNSPECIFIED: "",
    session_pb2.STATE_REASON_REQUESTED: "a client asked for it",
    session_pb2.STATE_REASON_RECOVERY: "the worker started",
    session_pb2.STATE_REASON_CODE_OFFERED: "a code waits for a phone",
    session_pb2.STATE_REASON_LINKED: "linked, logging in",
    session_pb2.STATE_REASON_PAIRING_TIMED_OUT: "every code ran out without a scan",
    session_pb2.STATE_REASON_PAIRING_REFUSED: "the phone or WhatsApp refused the link",
    session_pb2.STATE_REASON_MULTIDEVICE_DISABLED: "the phone does not support linked devices",
    session_pb2.STATE_REASON_PASSKEY_REQUIRED: "the account demands a passkey, which cannot be given here",
    session_pb2.STATE_REASON_CLIENT_OUTDATED: "the client is too old for WhatsApp: upgrade the gateway",
    session_pb2.STATE_REASON_CONNECTION_LOST: "the connection to WhatsApp is lost",
    session_pb2.STATE_REASON_KEEPALIVE_TIMED_OUT: "the connection answers no more",
    session_pb2.STATE_REASON_ENGINE_LOST: "its engine process died or is being replaced",
    session_pb2.STATE_REASON_DEVICE_REMOVED: "the device was removed on the phone",
    session_pb2.STATE_REASON_LOGIN_REFUSED: "WhatsApp refused the login",
    session_pb2.STATE_REASON_STREAM_REPLACED: "another client connected as this device",
    session_pb2.STATE_REASON_ACCOUNT_BANNED: "WhatsApp banned the account",
    session_pb2.STATE_REASON_SERVER_UNAVAILABLE: "WhatsApp asked to come back later",
    session_pb2.STATE_REASON_AUTH_STATE_UNREADABLE: "its keys on disk cannot be read",
    session_pb2.STATE_REASON_STORAGE_FULL: "the disk is full",
}

_STATE_STYLES: Final[dict[int, str]] = {
    session_pb2.SESSION_STATE_CONNECTED: "green",
    session_pb2.SESSION_STATE_CONNECTING: "yellow",
    session_pb2.SESSION_STATE_PAIRING: "yellow",
    session_pb2.SESSION_STATE_RECONNECTING: "yellow",
    session_pb2.SESSION_STATE_LOGGED_OUT: "red",
    session_pb2.SESSION_STATE_BANNED: "red",
    session_pb2.SESSION_STATE_REPLACED: "red",
    session_pb2.SESSION_STATE_FAILED: "red",
}

# The ticks that WhatsApp itself shows.
_TICKS: Final[dict[int, tuple[str, str, str]]] = {
    event_pb2.MESSAGE_STATUS_PENDING: ("…", "pending", "dim"),
    event_pb2.MESSAGE_STATUS_SERVER_ACK: ("✓", "sent", "green"),
    event_pb2.MESSAGE_STATUS_DELIVERED: ("✓✓", "delivered", "green"),
    event_pb2.MESSAGE_STATUS_READ: ("✓✓", "read", "bold bright_blue"),
    event_pb2.MESSAGE_STATUS_PLAYED: ("✓✓", "played", "bold bright_blue"),
    event_pb2.MESSAGE_STATUS_FAILED: ("✗", "failed", "red"),
}


def enum_words(name: str, prefix: str) -> str:
    """Return an enum value's name in words: ``SESSION_STATE_LOGGED_OUT`` is "logged out"."""
    return name.removeprefix(prefix).replace("_", " ").lower()


def state_words(state: session_pb2.SessionState.ValueType) -> str:
    """Return a session's state in words; states of a newer contract are shown by number."""
    if state not in session_pb2.SessionState.values():
        return f"state {int(state)}"
    return enum_words(session_pb2.SessionState.Name(state), "SESSION_STATE_")


def state_style(state: int) -> str:
    """Return rich's style for a state: green is well, yellow is on its way, red needs somebody."""
    return _STATE_STYLES.get(state, "")


def reason_words(reason: int) -> str:
    """Return why a session is in its state; empty when the state says it all."""
    return REASONS.get(reason, f"reason {reason}")


def ticks(status: int) -> tuple[str, str, str]:
    """Return a message status as WhatsApp draws it, in a word, and rich's style for it."""
    return _TICKS.get(status, ("?", f"status {status}", ""))


def content_words(content: content_pb2.Content) -> str:
    """Return one line that says what a message says."""
    match content.WhichOneof("kind"):
        case "text":
            return content.text.text
        case "image":
            info = content.image.info
            size = f", {size_words(info.size)}" if info.size else ""
            caption = f" {content.image.caption}" if content.image.caption else ""
            return f"[image{size}]{caption}"
        case "unknown":
            return f"[{content.unknown.kind or 'empty message'}]"
        case _:
            return "[a kind of a newer contract]"


def size_words(size: int) -> str:
    """Return a size in bytes as people read it: 2048 is "2 KiB"."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004 - the base of the binary units
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} GiB"


def user_words(user: event_pb2.User, name: str = "") -> str:
    """Return a user by the best that is known of it: number or id, with its name."""
    known = user.phone_number or user.id or "somebody"
    return f"{known} ({name})" if name else known


def clock(time: Timestamp, *, now: datetime | None = None) -> str:
    """Return a time as the local clock shows it, with the date when it is another day."""
    local = time.ToDatetime(tzinfo=(now or datetime.now().astimezone()).tzinfo)
    today = (now or datetime.now().astimezone()).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def ago(time: Timestamp, *, now: datetime | None = None) -> str:
    """Return how long ago a time was: "12 s", "5 min", "3 h", "9 d"."""
    if not time.ByteSize():
        return ""
    present = now or datetime.now().astimezone()
    seconds = int((present - time.ToDatetime(tzinfo=present.tzinfo)) / timedelta(seconds=1))
    if seconds < _MINUTE:
        return f"{max(seconds, 0)} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h"
    return f"{seconds // _DAY} d"
