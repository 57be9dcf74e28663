"""Messages and signatures that a libsignal made are understood: the wire format and the derivations are its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway_worker.simulator.signal import (
    CiphertextKind,
    DuplicateMessageError,
    InvalidSignatureError,
    KeyPair,
    PreKey,
    SignalDevice,
    SignedPreKey,
    verify_signature,
)
from gateway_worker.simulator.signal.keys import encode_public_key
from gateway_worker.simulator.signal.wire import PreKeySignalMessage

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("libsignal_vectors.json").read_text())


def _key(name: str) -> KeyPair:
    return KeyPair.from_private(bytes.fromhex(VECTORS[name]))


def _ciphertext(index: int) -> bytes:
    return bytes.fromhex(VECTORS["messages"][index]["ciphertext"])


def _plaintext(index: int) -> bytes:
    text: str = VECTORS["messages"][index]["plaintext"]
    return text.encode()


@pytest.fixture
def responder() -> SignalDevice[str]:
    """The device whose bundle the recorded initiator used."""
    device: SignalDevice[str] = SignalDevice(_key("identity_private"))
    device.signed_pre_key = SignedPreKey(
        VECTORS["signed_pre_key_id"], _key("signed_pre_key_private"), bytes.fromhex(VECTORS["signed_pre_key_signature"])
    )
    pre_key = PreKey(VECTORS["pre_key_id"], _key("pre_key_private"))
    device._pre_keys[pre_key.id] = pre_key
    return device


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_messages_of_libsignal_decrypt_in_any_order(responder: SignalDevice[str], order: tuple[int, ...]) -> None:
    """Each of the recorded messages decrypts, whichever comes first and builds the session."""
    for index in order:
        assert responder.decrypt("libsignal", CiphertextKind.PRE_KEY, _ciphertext(index)) == _plaintext(index)
    assert responder.unused_pre_keys == 0
    for index in order:
        with pytest.raises(DuplicateMessageError):
            responder.decrypt("libsignal", CiphertextKind.PRE_KEY, _ciphertext(index))


def test_a_message_of_libsignal_is_written_back_byte_for_byte() -> None:
    """Parsing and serializing a recorded message gives the same bytes, field order and lengths included."""
    message = PreKeySignalMessage.parse(_ciphertext(1))
    assert message.serialize() == _ciphertext(1)
    assert message.registration_id == VECTORS["sender_registration_id"]
    assert message.identity.hex() == VECTORS["sender_identity"]


def test_a_signature_of_libsignal_verifies(responder: SignalDevice[str]) -> None:
    """The signature libsignal made over the signed prekey is accepted, one over another key is not."""
    signature = responder.signed_pre_key.signature
    verify_signature(responder.identity.public, encode_public_key(responder.signed_pre_key.pair.public), signature)
    with pytest.raises(InvalidSignatureError):
        verify_signature(responder.identity.public, encode_public_key(responder.identity.public), signature)
