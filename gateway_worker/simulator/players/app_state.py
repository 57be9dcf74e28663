"""The app state that a phone shares with its companions: its key, and the patch that tells them the push name.

App state is a set of collections of encrypted settings. A companion learns the key from the phone in a message, fetches
each collection's patches from the server and verifies every one: a MAC over each value, one over the index, one over
the whole collection after the patch (an LT-hash), one over the patch. WhatsApp's clients refuse to announce presence
before they know their push name, and they learn it from nowhere but the collection ``critical_block``.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway_worker.waproto import e2e, server_sync, sync_action

if TYPE_CHECKING:
    from collections.abc import Sequence

CRITICAL_BLOCK = "critical_block"
"""The collection with what a client needs first: push name and locale."""

_AES_BLOCK_BITS = 128
_IV_SIZE = 16
_LT_HASH_SIZE = 128
_SET = b"\x01"
"""How the value MAC spells the operation SET."""


@dataclass(frozen=True, slots=True)
class _ExpandedKey:
    index: bytes
    value_cipher: bytes
    value_mac: bytes
    snapshot_mac: bytes
    patch_mac: bytes


@dataclass(frozen=True, slots=True)
class AppStateKey:
    """A key that a phone and its companions share.

    Attributes:
        id: Key id, 6 bytes.
        data: Key material, 32 bytes.
        created: Time of creation, milliseconds since the epoch.
    """

    id: bytes = field(default_factory=lambda: secrets.token_bytes(6))
    data: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    created: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def share(self) -> e2e.Message:
        """Build the message by which the phone gives the key to a companion."""
        key_data = e2e.AppStateSyncKeyData(
            keyData=self.data,
            fingerprint=e2e.AppStateSyncKeyFingerprint(rawID=1, currentIndex=0, deviceIndexes=[0]),
            timestamp=self.created,
        )
        key = e2e.AppStateSyncKey(keyID=e2e.AppStateSyncKeyId(keyID=self.id), keyData=key_data)
        return e2e.Message(
            protocolMessage=e2e.ProtocolMessage(
                type=e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE,
                appStateSyncKeyShare=e2e.AppStateSyncKeyShare(keys=[key]),
            )
        )

    def expand(self) -> _ExpandedKey:
        """Derive the keys for each use."""
        expanded = HKDF(SHA256(), 160, salt=None, info=b"WhatsApp Mutation Keys").derive(self.data)
        return _ExpandedKey(*(expanded[offset : offset + 32] for offset in range(0, 160, 32)))


def first_patch(
    key: AppStateKey, collection: str, settings: Sequence[tuple[list[str], sync_action.SyncActionValue]]
) -> bytes:
    """Build the patch that opens a collection (its version 1) with some settings.

    Args:
        key: The key to encrypt and authenticate with.
        collection: Name of the collection.
        settings: Index and value of each: an index is a list of strings, a value a ``SyncActionValue``.

    Returns:
        A serialized ``SyncdPatch``.
    """
    version = 1
    expanded = key.expand()
    key_id = server_sync.KeyId(ID=key.id)
    mutations, value_macs = [], []
    for index, value in settings:
        record, value_mac = _record(key, expanded, index, value)
        mutations.append(server_sync.SyncdMutation(operation=server_sync.SyncdMutation.SET, record=record))
        value_macs.append(value_mac)
    place = version.to_bytes(8, "big") + collection.encode()
    snapshot_mac = hmac.digest(expanded.snapshot_mac, _lt_hash(value_macs) + place, "sha256")
    patch_mac = hmac.digest(expanded.patch_mac, b"".join((snapshot_mac, *value_macs, place)), "sha256")
    return server_sync.SyncdPatch(
        version=server_sync.SyncdVersion(version=version),
        mutations=mutations,
        snapshotMAC=snapshot_mac,
        patchMAC=patch_mac,
        keyID=key_id,
        deviceIndex=0,
    ).SerializeToString()


def push_name_patch(key: AppStateKey, push_name: str) -> bytes:
    """Build the first patch of `CRITICAL_BLOCK`: the account's push name."""
    value = sync_action.SyncActionValue(
        timestamp=key.created, pushNameSetting=sync_action.PushNameSetting(name=push_name)
    )
    return first_patch(key, CRITICAL_BLOCK, [(["setting_pushName"], value)])


def _record(
    key: AppStateKey, expanded: _ExpandedKey, index: list[str], value: sync_action.SyncActionValue
) -> tuple[server_sync.SyncdRecord, bytes]:
    """Encrypt a setting; returns its record and the MAC of its value."""
    encoded_index = json.dumps(index, separators=(",", ":")).encode()
    data = sync_action.SyncActionData(index=encoded_index, value=value, padding=b"", version=1)
    iv = secrets.token_bytes(_IV_SIZE)
    padder = padding.PKCS7(_AES_BLOCK_BITS).padder()
    encryptor = Cipher(AES(expanded.value_cipher), CBC(iv)).encryptor()
    padded = padder.update(data.SerializeToString()) + padder.finalize()
    ciphertext = iv + encryptor.update(padded) + encryptor.finalize()
    associated = _SET + key.id
    covered = associated + ciphertext + len(associated).to_bytes(8, "big")
    value_mac = hmac.digest(expanded.value_mac, covered, "sha512")[:32]
    record = server_sync.SyncdRecord(
        index=server_sync.SyncdIndex(blob=hmac.digest(expanded.index, encoded_index, "sha256")),
        value=server_sync.SyncdValue(blob=ciphertext + value_mac),
        keyID=server_sync.KeyId(ID=key.id),
    )
    return record, value_mac


def _lt_hash(value_macs: Sequence[bytes]) -> bytes:
    """Hash a set of values so that adding one is adding numbers: 64 sums modulo 2**16, little-endian."""
    total = [0] * (_LT_HASH_SIZE // 2)
    for value_mac in value_macs:
        expanded = HKDF(SHA256(), _LT_HASH_SIZE, salt=None, info=b"WhatsApp Patch Integrity").derive(value_mac)
        for place in range(len(total)):
            total[place] += int.from_bytes(expanded[2 * place : 2 * place + 2], "little")
    return b"".join((number % 0x10000).to_bytes(2, "little") for number in total)
