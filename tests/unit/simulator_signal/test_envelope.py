"""Padding, the <enc> element, and the proof that a companion belongs to its account."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.players.envelope import (
    UntrustedDeviceError,
    enc_node,
    pad,
    read_enc,
    unpad,
    verify_companion,
)
from gateway_worker.simulator.signal import CiphertextKind, InvalidMessageError, KeyPair
from gateway_worker.waproto import adv


@given(content=st.binary(max_size=100))
def test_padding_is_one_to_sixteen_bytes_and_comes_off(content: bytes) -> None:
    """Any content survives, also one that itself looks padded."""
    padded = pad(content)
    assert 1 <= len(padded) - len(content) <= 16
    assert unpad(padded) == content


@pytest.mark.parametrize("padded", [b"", b"\x00", b"\x02", b"x\x01\x02", b"\x11" * 17])
def test_bad_padding_is_refused(padded: bytes) -> None:
    """Nothing, zero, too few, other bytes, too many."""
    with pytest.raises(InvalidMessageError):
        unpad(padded)


def test_an_enc_element_is_read_as_it_was_built() -> None:
    """Kind and ciphertext survive; media type and repetition are attributes."""
    node = enc_node(CiphertextKind.PRE_KEY, b"c", media_type="image", retry=2)
    assert node.attrs == {"v": "2", "type": "pkmsg", "mediatype": "image", "count": "2"}
    assert read_enc(node) == (CiphertextKind.PRE_KEY, b"c")


@pytest.mark.parametrize("attrs", [{}, {"v": "3", "type": "msg"}, {"v": "2", "type": "skmsg"}, {"v": "2"}])
def test_foreign_enc_elements_are_refused(attrs: dict[str, str]) -> None:
    """Other versions and types are not direct messages."""
    with pytest.raises(InvalidMessageError):
        read_enc(Node("enc", attrs, b""))


def _link(account: KeyPair, companion: KeyPair) -> adv.ADVSignedDeviceIdentity:
    """Sign a companion as a phone does when it scans a code, and back as the companion does."""
    details = adv.ADVDeviceIdentity(rawID=1, keyIndex=1, timestamp=1).SerializeToString()
    return adv.ADVSignedDeviceIdentity(
        details=details,
        accountSignatureKey=account.public,
        accountSignature=account.sign(b"\x06\x00" + details + companion.public),
        deviceSignature=companion.sign(b"\x06\x01" + details + companion.public + account.public),
    )


def test_a_linked_companion_is_trusted() -> None:
    """Both signatures over the same details and keys: nothing to complain about."""
    account, companion = KeyPair.generate(), KeyPair.generate()
    identity = _link(account, companion).SerializeToString()
    verify_companion(identity, account_key=account.public, companion_key=companion.public)


def test_a_companion_of_somebody_else_is_not_trusted() -> None:
    """Another account's signature, another companion's key, and a one-sided signature are all refused."""
    account, companion, mallory = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
    genuine = _link(account, companion)
    for identity, account_key, companion_key in (
        (_link(mallory, companion), account, companion),
        (genuine, account, mallory),
        (genuine, mallory, companion),
    ):
        with pytest.raises(UntrustedDeviceError):
            verify_companion(
                identity.SerializeToString(), account_key=account_key.public, companion_key=companion_key.public
            )
    genuine.deviceSignature = mallory.sign(b"whatever")
    with pytest.raises(UntrustedDeviceError):
        verify_companion(genuine.SerializeToString(), account_key=account.public, companion_key=companion.public)
    with pytest.raises(UntrustedDeviceError):
        verify_companion(b"\xff", account_key=account.public, companion_key=companion.public)
