"""Events as one line each, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rich.text import Text

from gateway_worker.cli.wording import (
    clock,
    content_words,
    enum_words,
    reason_words,
    state_style,
    state_words,
    ticks,
    user_words,
)
from wagateway.worker.v1 import event_pb2, session_pb2


def event_line(event: event_pb2.Event) -> Text:
    """Return an event as a line: when, which session, its sequence, what happened."""
    number = f"#{event.sequence}" if event.sequence else "live"
    kind = event.WhichOneof("kind")
    line = Text.assemble((clock(event.time), "dim"), " ", (event.session_id, "bold"), " ", (f"{number:<5}", "dim"), " ")
    describe = _KINDS.get(kind or "")
    return line.append_text(describe(getattr(event, kind)) if describe and kind else Text("[of a newer contract]"))


def status_text(status: session_pb2.SessionStatus) -> Text:
    """Return a session's state with its reason."""
    text = Text(state_words(status.state), style=state_style(status.state))
    reason = reason_words(status.reason)
    return text.append(f" · {reason}", style="not bold default") if reason else text


def _session_state(change: event_pb2.SessionStateChanged) -> Text:
    if change.previous == session_pb2.SESSION_STATE_UNSPECIFIED:  # the session's first state
        return status_text(change.status)
    return Text.assemble(f"{state_words(change.previous)} → ", status_text(change.status))


def _paired(paired: event_pb2.SessionPaired) -> Text:
    return Text(f"linked to {paired.account.phone_number or paired.account.jid}", style="green")


def _message(message: event_pb2.MessageReceived) -> Text:
    way = "→" if message.from_me else "←"
    sender = "own device" if message.from_me else user_words(message.sender, message.sender_name)
    where = f" in {message.chat}" if message.group else ""
    return Text.assemble((f"{way} {sender}{where}: ", "cyan"), content_words(message.content))


def _message_status(change: event_pb2.MessageStatusChanged) -> Text:
    mark, word, style = ticks(change.status)
    text = Text.assemble((f"{mark} {word} ", style), (change.message_id, "dim"))
    if change.failure_reason:
        text.append(f" {change.failure_reason}", style="red")
    return text


def _undecryptable(message: event_pb2.MessageUndecryptable) -> Text:
    outlook = "WhatsApp withholds it from linked devices" if message.unavailable else "the sender was asked again"
    return Text(f"← {user_words(message.sender)}: cannot be decrypted, {outlook}", style="yellow")


def _deleted(_: event_pb2.SessionDeleted) -> Text:
    return Text("session deleted", style="red")


def _snapshot(snapshot: event_pb2.SessionSnapshot) -> Text:
    account = snapshot.session.account.phone_number
    return Text.assemble("is ", status_text(snapshot.session.status), f" · {account}" if account else "")


def _pairing(offered: event_pb2.PairingOffered) -> Text:
    if not offered.HasField("pairing"):
        return Text("the code is no longer valid")
    # A code is a secret: it is drawn where it was asked for, and kept out of what people paste into reports.
    what = "QR code" if offered.pairing.WhichOneof("code") == "qr" else "pairing code"
    return Text(f"{what} offered until {clock(offered.pairing.expire_time)}: gateway-worker pair shows it")


def _chat_presence(presence: event_pb2.ChatPresence) -> Text:
    activity = enum_words(event_pb2.ChatActivity.Name(presence.activity), "CHAT_ACTIVITY_")
    return Text(f"{user_words(presence.sender)} {activity}", style="dim")


def _presence(presence: event_pb2.Presence) -> Text:
    return Text(f"{user_words(presence.user)} {'online' if presence.online else 'offline'}", style="dim")


_KINDS: Final[dict[str, Callable[[Any], Text]]] = {
    "session_state": _session_state,
    "paired": _paired,
    "message": _message,
    "message_status": _message_status,
    "undecryptable": _undecryptable,
    "deleted": _deleted,
    "snapshot": _snapshot,
    "pairing": _pairing,
    "chat_presence": _chat_presence,
    "presence": _presence,
}
