"""Users and chats by what is known of them.

A WhatsApp account has two addresses, a phone number and a hidden id (LID), and a stanza carries one of them, with the
other as an extra that is not always there. Both are given out when both are known: from the event itself, from an
earlier one, or from the client's own table.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from gateway_worker.engine.convert import jids
from gateway_worker.waproto import neonize
from wagateway.worker.v1 import event_pb2

_CAPACITY: Final = 20_000


class AddressBook:
    """Which phone number belongs to which LID, learned from what passes by.

    The mapping is WhatsApp's and the same for every account. The longest unused of 20,000 pairs is forgotten, a few
    megabytes at most; what is forgotten is learned again.
    """

    def __init__(self) -> None:
        self._phone_of: OrderedDict[str, str] = OrderedDict()
        self._lid_of: dict[str, str] = {}
        self._missed: set[str] = set()

    def learn(self, lid: str, phone: str) -> None:
        """Remember a pair: digits of the LID, digits of the phone number; empty when there is none to be known."""
        self._phone_of[lid] = phone
        self._phone_of.move_to_end(lid)
        if phone:
            self._lid_of[phone] = lid
        if len(self._phone_of) > _CAPACITY:
            _, forgotten = self._phone_of.popitem(last=False)
            self._lid_of.pop(forgotten, None)

    def phone_of(self, lid: str) -> str:
        """Digits of the phone number; empty when not known, which :meth:`missed` tells later."""
        phone = self._phone_of.get(lid)
        if phone is None:
            self._missed.add(lid)
            return ""
        return phone

    def lid_of(self, phone: str) -> str:
        """Digits of the LID; empty when not known."""
        return self._lid_of.get(phone, "")

    def missed(self) -> set[str]:
        """LIDs that were asked for in vain since the last call."""
        missed, self._missed = self._missed, set()
        return missed

    def user(self, jid: neonize.JID, other: neonize.JID | None = None) -> event_pb2.User:
        """Describe a user by a JID and, if there is one, the JID of the other kind."""
        given = [known for known in (jid, other) if known is not None]
        phone = next((known.User for known in given if known.Server == jids.PHONE), "")
        lid = next((known.User for known in given if known.Server == jids.LID), "")
        if phone and lid:
            self.learn(lid, phone)
        elif lid:
            phone = self.phone_of(lid)
        elif phone:
            lid = self.lid_of(phone)
        phone_jid = f"{phone}@{jids.PHONE}" if phone else ""
        lid_jid = f"{lid}@{jids.LID}" if lid else ""
        return event_pb2.User(
            id=lid_jid or phone_jid or jids.user_text(jid),
            phone_number=f"+{phone}" if phone else "",
            phone_jid=phone_jid,
            lid=lid_jid,
        )

    def sender(self, source: neonize.MessageSource) -> event_pb2.User:
        """Describe the sender in a stanza's source."""
        return self.user(source.Sender, source.SenderAlt)

    def chat(self, source: neonize.MessageSource) -> str:
        """JID of the chat in a stanza's source, the same one for the same chat whatever the stanza carries.

        For a chat of two that is the phone JID when it is known: sends are addressed by it. WhatsApp moves chats from
        phone numbers to LIDs one by one, and a chat must not become another one when that happens.
        """
        if source.Chat.Server != jids.LID:
            return jids.user_text(source.Chat)
        other = source.RecipientAlt if source.IsFromMe else source.SenderAlt
        return self.user(source.Chat, other).phone_jid or jids.user_text(source.Chat)
