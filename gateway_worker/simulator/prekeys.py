"""The ``encrypt`` queries: devices publish keys, and take each other's to open Signal sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import (
    PN_SERVER,
    OneTimePreKey,
    PreKeyBundle,
    PublishedKeys,
    SignedPreKey,
)
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.query import BAD_REQUEST, NOT_ACCEPTABLE, NOT_FOUND, QueryError, error_node, require

if TYPE_CHECKING:
    from gateway_worker.simulator.post import PostOffice
    from gateway_worker.simulator.registry import Device, Registry

KEY_TYPE: Final = b"\x05"
"""Signal's type byte of a Curve25519 key."""

_ID_SIZE: Final = 3
_REGISTRATION_SIZE: Final = 4
_FEW: Final = 5
"""Fewer one-time prekeys than these, and the device is told to publish more."""


def parse_published(node: Node) -> PublishedKeys:
    """Parse the children that publish a device's keys.

    Raises:
        QueryError: One is missing or cannot be what it should be.
    """
    return PublishedKeys(
        registration_id=int.from_bytes(_sized(node.child("registration"), _REGISTRATION_SIZE), "big"),
        identity=require(node.child("identity")).data,
        signed_prekey=_parse_signed(require(node.child("skey"))),
        one_time_prekeys=[
            OneTimePreKey(_key_id(key), require(key.child("value")).data)
            for key in require(node.child("list")).children("key")
        ],
    )


def _sized(node: Node | None, size: int) -> bytes:
    data = require(node).data
    if len(data) != size:
        raise QueryError(BAD_REQUEST)
    return data


def _key_id(node: Node) -> int:
    return int.from_bytes(_sized(node.child("id"), _ID_SIZE), "big")


def _parse_signed(node: Node) -> SignedPreKey:
    return SignedPreKey(_key_id(node), require(node.child("value")).data, require(node.child("signature")).data)


def _bundle_nodes(bundle: PreKeyBundle) -> list[Node]:
    signed = bundle.signed_prekey
    nodes = [
        Node("registration", {}, bundle.registration_id.to_bytes(_REGISTRATION_SIZE, "big")),
        Node("type", {}, KEY_TYPE),
        Node("identity", {}, bundle.identity),
        Node("skey", {}, [*_key_nodes(signed.key_id, signed.public), Node("signature", {}, signed.signature)]),
    ]
    if bundle.one_time_prekey is not None:
        nodes.append(Node("key", {}, _key_nodes(bundle.one_time_prekey.key_id, bundle.one_time_prekey.public)))
    return nodes


def _key_nodes(key_id: int, public: bytes) -> list[Node]:
    return [Node("id", {}, key_id.to_bytes(_ID_SIZE, "big")), Node("value", {}, public)]


class PreKeyQueries:
    """Answers ``encrypt`` queries.

    Args:
        registry: Where the devices are.
        post: Tells devices that run out of prekeys.
    """

    def __init__(self, registry: Registry, post: PostOffice) -> None:
        self._registry = registry
        self._post = post

    async def answer(self, device: Device, iq: Node) -> list[Node]:
        """Answer: a count, a new set of keys, a new signed prekey, or somebody's bundle."""
        if iq.attrs.get("type") == "set":
            self._set(device, iq)
            return []
        if iq.child("count") is not None:
            return [Node("count", {"value": str(len(device.keys))})]
        users = require(iq.child("key")).children("user")
        return [Node("list", {}, [await self._bundle(user.attrs.get("jid", "")) for user in users])]

    @staticmethod
    def _set(device: Device, iq: Node) -> None:
        try:
            if rotate := iq.child("rotate"):
                device.keys.rotate(_parse_signed(require(rotate.child("skey"))))
            else:
                device.keys.publish(parse_published(iq))
        except InvalidError:
            raise QueryError(NOT_ACCEPTABLE) from None

    async def _bundle(self, jid: str) -> Node:
        target = self._registry.find_device(jid)
        bundle = None if target is None else target.keys.take(target.address)
        if target is None or bundle is None:
            return Node("user", {"jid": jid}, [error_node(NOT_FOUND)])
        if len(target.keys) == _FEW - 1 and not target.is_played:
            count = Node("count", {"value": str(len(target.keys))})
            await self._post.notify(target, "encrypt", PN_SERVER, [count])
        return Node("user", {"jid": jid}, _bundle_nodes(bundle))
