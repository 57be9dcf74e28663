"""Users by what is known of them."""

from __future__ import annotations

from gateway_worker.domain.recipients import e164_of
from wagateway.worker.v1 import event_pb2


def user_of_chat(chat: str) -> event_pb2.User | None:
    """The other one in a chat of two; None for groups, newsletters and the status list."""
    if chat.endswith("@s.whatsapp.net"):
        return event_pb2.User(id=chat, phone_number=e164_of(chat), phone_jid=chat)
    if chat.endswith("@lid"):
        return event_pb2.User(id=chat, lid=chat)
    return None
