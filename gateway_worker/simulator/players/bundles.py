"""A device's public keys in the forms in which they travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import OneTimePreKey, PublishedKeys, SignedPreKey
from gateway_worker.simulator.signal import PreKeyBundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_worker.simulator import endpoints
    from gateway_worker.simulator.signal import PreKey, SignalDevice

_CURVE25519_TYPE = b"\x05"
_KEY_ID_SIZE = 3


def published_keys(device: SignalDevice[Any], pre_keys: Sequence[PreKey]) -> PublishedKeys:
    """Return what a device hands to the server: its keys, and one-time prekeys to add to those there."""
    signed = device.signed_pre_key
    return PublishedKeys(
        registration_id=device.registration_id,
        identity=device.identity.public,
        signed_prekey=SignedPreKey(signed.id, signed.pair.public, signed.signature),
        one_time_prekeys=[OneTimePreKey(key.id, key.pair.public) for key in pre_keys],
    )


def signal_bundle(bundle: endpoints.PreKeyBundle) -> PreKeyBundle:
    """Return what Signal needs of a bundle that the server hands out."""
    one_time = bundle.one_time_prekey
    return PreKeyBundle(
        registration_id=bundle.registration_id,
        identity=bundle.identity,
        signed_pre_key_id=bundle.signed_prekey.key_id,
        signed_pre_key=bundle.signed_prekey.public,
        signature=bundle.signed_prekey.signature,
        pre_key_id=one_time.key_id if one_time else None,
        pre_key=one_time.public if one_time else None,
    )


def keys_nodes(device: SignalDevice[Any], pre_key: PreKey) -> list[Node]:
    """Return ``<registration>`` and ``<keys>``, by which a retry receipt invites a new session."""
    signed = device.signed_pre_key
    keys = [
        Node("type", {}, _CURVE25519_TYPE),
        Node("identity", {}, device.identity.public),
        Node("key", {}, _key_children(pre_key.id, pre_key.pair.public)),
        Node("skey", {}, [*_key_children(signed.id, signed.pair.public), Node("signature", {}, signed.signature)]),
    ]
    return [Node("registration", {}, device.registration_id.to_bytes(4, "big")), Node("keys", {}, keys)]


def _key_children(key_id: int, public: bytes) -> list[Node]:
    return [Node("id", {}, key_id.to_bytes(_KEY_ID_SIZE, "big")), Node("value", {}, public)]
