"""What devices send to each other: messages, receipts, presence, typing.

The rules of address: a recipient may be named by phone number or by LID, and whoever gets the stanza sees its sender in
that same form, with the other form beside it. What a device sends to its own account's other devices carries the chat
as ``recipient``.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import DeviceAddress
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.jids import UserJid, parse_user
from gateway_worker.simulator.post import PostOffice, Stats, now

if TYPE_CHECKING:
    from gateway_worker.simulator.registry import AccountRecord, Device, Registry

UNKNOWN_CHAT: Final = 404
"""Error code for messages to chats that do not exist here: groups, newsletters, broadcast lists."""

_COPIED_ATTRIBUTES: Final = ("type", "edit", "category")
_STRIPPED_CHILDREN: Final = frozenset({"participants", "enc", "device-identity", "tctoken", "cstoken"})
_TO_ONE_DEVICE: Final = frozenset({"retry", "sender", "peer_msg", "hist_sync", "server-error"})
_TO_OWN_DEVICES: Final = frozenset({"read-self", "played-self"})
_SEEN: Final = frozenset({"read", "played"})
_logger = logging.getLogger(__name__)


def _alternative(jid: UserJid, address: DeviceAddress) -> dict[str, str]:
    """Return the sender's other form of address, as the attribute that carries it."""
    return {"sender_pn": address.pn_user} if jid.is_lid else {"sender_lid": address.lid_user}


class Router:
    """Routes stanzas between devices.

    Args:
        registry: Where the devices are.
        post: Hands stanzas over.
        stats: What is counted.
    """

    def __init__(self, registry: Registry, post: PostOffice, stats: Stats) -> None:
        self._registry = registry
        self._post = post
        self._stats = stats

    # --- messages -----------------------------------------------------------------------------------------------------

    def check_message(self, node: Node) -> int:
        """Check a message before it is acknowledged.

        Returns:
            0, or the error code with which it is refused.

        Raises:
            InvalidError: It has no id, or nothing encrypted in it.
        """
        if not node.attrs.get("id"):
            raise InvalidError("a message has an id")
        if parse_user(node.attrs.get("to", "")) is None:
            return UNKNOWN_CHAT
        if node.child("participants") is None and node.child("enc") is None:
            raise InvalidError("a message has participants or an enc")
        return 0

    async def message(self, sender: Device, node: Node) -> None:
        """Deliver a checked message to the devices that it was encrypted for; a stranger's are as silent as ever."""
        self._stats.messages_in += 1
        chat = node.attrs["to"]
        to = parse_user(chat)
        recipient = self._registry.find(chat)
        if to is None or recipient is None:
            return
        extras = [child for child in node.children() if child.tag not in _STRIPPED_CHILDREN]
        identity = node.child("device-identity")
        participants = node.child("participants")
        if participants is None:
            copies = [(chat, node.children("enc"))]
        else:
            copies = [(entry.attrs.get("jid", ""), entry.children("enc")) for entry in participants.children("to")]
        stamp = now()
        for jid, ciphertexts in copies:
            device = self._registry.find_device(jid)
            if device is None or device is sender or not ciphertexts:
                continue
            if device.account is not sender.account:
                if device.account is not recipient or sender.account.account.number in recipient.blocked:
                    continue
                recipient_attrs = {}
            else:
                recipient_attrs = self._own_chat(node, recipient, to)
            parsed = parse_user(jid)
            content = extras + ciphertexts
            if identity is not None and any(enc.attrs.get("type") == "pkmsg" for enc in ciphertexts):
                content.append(identity)
            envelope = self._envelope(sender, parsed or to, node, stamp)
            await self._post.deliver(device, Node("message", envelope | recipient_attrs, content))

    @staticmethod
    def _own_chat(node: Node, recipient: AccountRecord, to: UserJid) -> dict[str, str]:
        """Say to the sender's own devices which chat a message belongs to."""
        if node.attrs.get("category") == "peer":
            return {}
        # A message that is sent again says so itself: its "to" is the device that asked for it.
        address = recipient.account.address(0)
        if chosen := node.attrs.get("recipient"):
            return {"recipient": chosen}
        if to.is_lid:
            return {"recipient": address.lid_user, "peer_recipient_pn": address.pn_user}
        return {"recipient": address.pn_user, "peer_recipient_lid": address.lid_user}

    @staticmethod
    def _envelope(sender: Device, jid: UserJid, node: Node, stamp: str) -> dict[str, str]:
        address = sender.address
        attrs = {
            "from": address.lid_jid if jid.is_lid else address.pn_jid,
            "id": node.attrs["id"],
            "t": stamp,
            "notify": sender.account.push_name,
            "addressing_mode": "lid" if jid.is_lid else "pn",
        }
        for name in _COPIED_ATTRIBUTES:
            if value := node.attrs.get(name):
                attrs[name] = value
        return attrs | _alternative(jid, address)

    # --- receipts -----------------------------------------------------------------------------------------------------

    async def receipt(self, sender: Device, node: Node) -> None:
        """Pass a receipt on to whoever sent the message that it is for.

        Raises:
            InvalidError: It has no id.
        """
        if not node.attrs.get("id"):
            raise InvalidError("a receipt has an id")
        to = parse_user(node.attrs.get("to", ""))
        author = self._registry.find(node.attrs.get("to", ""))
        if to is None or author is None:
            return
        address = sender.address
        kind = node.attrs.get("type", "")
        attrs = {"from": address.lid_jid if to.is_lid else address.pn_jid, "id": node.attrs["id"], "t": now()}
        if kind:
            attrs["type"] = kind
        attrs |= _alternative(to, address)
        own = [device for device in sender.account.reachable() if device is not sender]
        chat = {"recipient": author.account.address(0).lid_user if to.is_lid else author.account.address(0).pn_user}
        if author is sender.account:
            chat = {name: node.attrs[name] for name in ("recipient", "category") if node.attrs.get(name)}
        if kind in _TO_ONE_DEVICE:
            target = author.devices.get(to.device)
            to_author = [target] if target is not None and target is not sender else []
        elif author is sender.account or kind in _TO_OWN_DEVICES:
            to_author = []
        else:
            to_author = author.reachable()
        for device in to_author:
            self._stats.receipts += 1
            extra = chat if author is sender.account else {}
            await self._post.deliver(device, Node("receipt", attrs | extra, node.content))
        if kind in _SEEN or kind in _TO_OWN_DEVICES:
            for device in own:
                await self._post.deliver(device, Node("receipt", attrs | chat, node.content))

    # --- typing and presence ------------------------------------------------------------------------------------------

    async def chatstate(self, sender: Device, node: Node) -> None:
        """Show typing to the devices of the one who is written to."""
        to = parse_user(node.attrs.get("to", ""))
        recipient = self._registry.find(node.attrs.get("to", ""))
        if to is None or recipient is None or sender.account.account.number in recipient.blocked:
            return
        address = sender.address.sibling(0)
        attrs = {"from": address.lid_jid if to.is_lid else address.pn_jid} | _alternative(to, address)
        for device in list(recipient.devices.values()):
            await self._post.flash(device, Node("chatstate", attrs, node.content))

    async def presence(self, sender: Device, node: Node) -> None:
        """Take a device's presence, or its wish to see somebody else's.

        Raises:
            InvalidError: It is of no known type.
        """
        kind = node.attrs.get("type", "available")
        if kind in ("available", "unavailable"):
            if name := node.attrs.get("name"):
                sender.account.push_name = name[:100]
            await self.set_available(sender, available=kind == "available")
        elif kind in ("subscribe", "unsubscribe"):
            record = self._registry.find(node.attrs.get("to", ""))
            to = parse_user(node.attrs.get("to", ""))
            if record is None or to is None:
                return
            record.subscribers.pop(sender.address, None)
            if kind == "subscribe":
                record.subscribers[sender.address] = to.is_lid
                await self._post.flash(sender, self._presence_of(record, lid=to.is_lid))
        else:
            raise InvalidError(f"a presence is available, unavailable, subscribe or unsubscribe, not {kind!r}")

    async def set_available(self, device: Device, *, available: bool) -> None:
        """Show a device as online or not, and tell those who want to know if that changes its account's presence."""
        record = device.account
        before = record.available
        device.available = available
        if record.available == before:
            return
        if before:
            record.last_seen = int(time.time())
        for subscriber, lid in list(record.subscribers.items()):
            watcher = self._registry.device(subscriber)
            if watcher is None:
                del record.subscribers[subscriber]
            else:
                await self._post.flash(watcher, self._presence_of(record, lid=lid))

    @staticmethod
    def _presence_of(record: AccountRecord, *, lid: bool) -> Node:
        address = record.account.address(0)
        attrs = {"from": address.lid_user if lid else address.pn_user}
        if not record.available:
            attrs |= {"type": "unavailable", "last": str(record.last_seen) if record.last_seen else "deny"}
        return Node("presence", attrs)
