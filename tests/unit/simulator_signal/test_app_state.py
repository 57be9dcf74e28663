"""The push name patch, checked as a companion checks it before it believes a word."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway_worker.simulator.players.app_state import AppStateKey, first_patch, push_name_patch
from gateway_worker.waproto import e2e, server_sync, sync_action


def _hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret)


def _read(patch: server_sync.SyncdPatch, key: AppStateKey, collection: bytes) -> list[sync_action.SyncActionData]:
    """Verify every MAC of a first patch and decrypt its settings."""
    keys = _hkdf(key.data, b"WhatsApp Mutation Keys", 160)
    index_key, cipher_key, value_key, snapshot_key, patch_key = (keys[at : at + 32] for at in range(0, 160, 32))
    lt_hash = [0] * 64
    value_macs = []
    settings = []
    for mutation in patch.mutations:
        assert mutation.operation == server_sync.SyncdMutation.SET
        assert key.id == mutation.record.keyID.ID
        blob = mutation.record.value.blob
        body, value_mac = blob[:-32], blob[-32:]
        length = (len(key.id) + 1).to_bytes(8, "big")
        assert hmac.new(value_key, b"\x01" + key.id + body + length, hashlib.sha512).digest()[:32] == value_mac
        decryptor = Cipher(algorithms.AES(cipher_key), modes.CBC(body[:16])).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        plaintext = unpadder.update(decryptor.update(body[16:]) + decryptor.finalize()) + unpadder.finalize()
        setting = sync_action.SyncActionData.FromString(plaintext)
        assert hmac.digest(index_key, setting.index, "sha256") == mutation.record.index.blob
        expanded = _hkdf(value_mac, b"WhatsApp Patch Integrity", 128)
        for place in range(64):
            lt_hash[place] = (lt_hash[place] + expanded[2 * place] + 256 * expanded[2 * place + 1]) & 0xFFFF
        value_macs.append(value_mac)
        settings.append(setting)
    state = b"".join(number.to_bytes(2, "little") for number in lt_hash)
    place_of_patch = patch.version.version.to_bytes(8, "big") + collection
    assert hmac.digest(snapshot_key, state + place_of_patch, "sha256") == patch.snapshotMAC
    covered = patch.snapshotMAC + b"".join(value_macs) + place_of_patch
    assert hmac.digest(patch_key, covered, "sha256") == patch.patchMAC
    assert key.id == patch.keyID.ID
    return settings


def test_the_push_name_patch_passes_every_check() -> None:
    """The patch is version 1 of critical_block and says the name."""
    key = AppStateKey()
    patch = server_sync.SyncdPatch.FromString(push_name_patch(key, "Ada 🦆"))
    assert patch.version.version == 1
    (setting,) = _read(patch, key, b"critical_block")
    assert json.loads(setting.index) == ["setting_pushName"]
    assert setting.value.pushNameSetting.name == "Ada 🦆"
    assert setting.value.timestamp == key.created


def test_the_collection_hash_covers_every_setting() -> None:
    """With several settings the sum of their hashes is authenticated, each with its own carry."""
    key = AppStateKey()
    settings = [(["mute", f"{number}@lid"], sync_action.SyncActionValue(timestamp=number)) for number in range(20)]
    patch = server_sync.SyncdPatch.FromString(first_patch(key, "regular_high", settings))
    assert [setting.value.timestamp for setting in _read(patch, key, b"regular_high")] == list(range(20))
    del patch.mutations[7]
    with pytest.raises(AssertionError):
        _read(patch, key, b"regular_high")


def test_the_key_share_carries_the_key() -> None:
    """The message to a companion is a key share with id, material and time of the key."""
    key = AppStateKey()
    protocol = key.share().protocolMessage
    assert protocol.type == e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE
    (shared,) = protocol.appStateSyncKeyShare.keys
    assert (shared.keyID.keyID, shared.keyData.keyData, shared.keyData.timestamp) == (key.id, key.data, key.created)
