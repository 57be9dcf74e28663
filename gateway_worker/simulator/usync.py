"""The ``usync`` query: which of these users exist, which devices have they, what else is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import PN_SERVER
from gateway_worker.simulator.jids import parse_user
from gateway_worker.simulator.query import require

if TYPE_CHECKING:
    from gateway_worker.simulator.registry import AccountRecord, Device, Registry

_ECHOED: Final[frozenset[str]] = frozenset({"sid", "index", "last", "mode", "context"})


class UsyncQueries:
    """Answers ``usync`` queries.

    Args:
        registry: Where the accounts are.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def answer(self, device: Device, iq: Node) -> list[Node]:
        """Answer with each user that was asked about, in the form of address that it was asked in."""
        usync = require(iq.child("usync"))
        protocols = require(usync.child("query")).children()
        users = [self._user(device, user, protocols) for user in require(usync.child("list")).children("user")]
        echoed: dict[str, str] = {name: value for name, value in usync.attrs.items() if name in _ECHOED}
        known = Node("result", {}, [Node(protocol.tag) for protocol in protocols])
        return [Node("usync", echoed, [known, Node("list", {}, users)])]

    def _user(self, device: Device, user: Node, protocols: list[Node]) -> Node:
        contact = user.child("contact")
        if jid := user.attrs.get("jid", ""):
            record = self._registry.find(jid)
            attrs = {"jid": jid}
        else:
            number = _digits(contact.data if contact is not None else b"")
            record = self._registry.find(number)
            attrs = {"jid": f"{number}@{PN_SERVER}"}
            by_lid = any(p.tag == "contact" and p.attrs.get("addressing_mode") == "lid" for p in protocols)
            if record is not None and by_lid:
                address = record.account.address(0)
                attrs = {"jid": address.lid_user, "pn_jid": address.pn_user}
        answers = (self._protocol(device, record, protocol.tag, contact) for protocol in protocols)
        return Node("user", attrs, [answer for answer in answers if answer is not None])

    def _protocol(self, device: Device, record: AccountRecord | None, tag: str, contact: Node | None) -> Node | None:
        """Answer one protocol of the query; None for what the account does not have."""
        if tag == "contact":
            kind = "out" if record is None else "in"
            return Node("contact", {"type": kind}, contact.data if contact is not None else None)
        if record is None:
            return None
        if tag == "devices":
            record.watchers.add(device.address)
            return Node("devices", {}, [_device_list(record)])
        answers = {
            "lid": Node("lid", {"val": record.account.address(0).lid_user}),
            "status": Node("status", {}, record.about.encode()) if record.about else None,
            "picture": Node("picture", {"id": record.picture_id}) if record.picture else None,
        }
        return answers.get(tag)


def _device_list(record: AccountRecord) -> Node:
    devices = []
    for device in record.reachable():
        attrs = {"id": str(device.address.device)}
        if device.key_index:
            attrs["key-index"] = str(device.key_index)
        devices.append(Node("device", attrs))
    return Node("device-list", {}, devices)


def _digits(query: bytes) -> str:
    """Return the number in a contact query: ``+628…``, ``628…`` or ``628…@c.us``."""
    text = query.decode(errors="replace").strip()
    jid = parse_user(text)
    return jid.user if jid is not None else text.removeprefix("+")
