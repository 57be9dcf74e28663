"""Sessions between two devices: beginnings, order, bounds, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from gateway_worker.simulator.signal import (
    CiphertextKind,
    DuplicateMessageError,
    InvalidKeyError,
    InvalidMessageError,
    InvalidSignatureError,
    KeyPair,
    NoSessionError,
    PreKeyBundle,
    SignalDevice,
    UnknownPreKeyError,
)
from gateway_worker.simulator.signal.keys import decode_public_key, encode_public_key
from gateway_worker.simulator.signal.session import MAX_FORWARD_JUMP, MAX_RECEIVER_CHAINS, MAX_SKIPPED_KEYS
from gateway_worker.simulator.signal.wire import PreKeySignalMessage

Device = SignalDevice[str]


def bundle_of(device: Device, *, one_time: bool = True) -> PreKeyBundle:
    """What a server hands out for a device."""
    pre_key = device.generate_pre_keys(1)[0] if one_time else None
    return PreKeyBundle(
        registration_id=device.registration_id,
        identity=device.identity.public,
        signed_pre_key_id=device.signed_pre_key.id,
        signed_pre_key=device.signed_pre_key.pair.public,
        signature=device.signed_pre_key.signature,
        pre_key_id=pre_key.id if pre_key else None,
        pre_key=pre_key.pair.public if pre_key else None,
    )


@pytest.fixture
def alice() -> Device:
    """A device without sessions."""
    return SignalDevice()


@pytest.fixture
def bob() -> Device:
    """Another one."""
    return SignalDevice()


def _exchange(alice: Device, bob: Device, rounds: int = 1) -> None:
    """Let two devices write to each other in turn, so that both ratchets turn."""
    for _ in range(rounds):
        assert bob.decrypt("alice", *alice.encrypt("bob", b"ping")) == b"ping"
        assert alice.decrypt("bob", *bob.encrypt("alice", b"pong")) == b"pong"


@pytest.mark.parametrize("one_time", [True, False])
def test_a_conversation_begins_with_prekey_messages_and_goes_on_without(
    alice: Device, bob: Device, *, one_time: bool
) -> None:
    """Messages are prekey messages until the first answer; a one-time prekey is used up by the first of them."""
    alice.start_session("bob", bundle_of(bob, one_time=one_time))
    first, second = alice.encrypt("bob", b"one"), alice.encrypt("bob", b"two")
    assert (first[0], second[0]) == (CiphertextKind.PRE_KEY, CiphertextKind.PRE_KEY)
    assert bob.decrypt("alice", *first) == b"one"
    assert bob.unused_pre_keys == 0
    assert bob.decrypt("alice", *second) == b"two"

    answer = bob.encrypt("alice", b"three")
    assert answer[0] is CiphertextKind.MESSAGE
    assert alice.decrypt("bob", *answer) == b"three"
    assert alice.encrypt("bob", b"four")[0] is CiphertextKind.MESSAGE


def test_empty_and_large_plaintexts_pass(alice: Device, bob: Device) -> None:
    """The length of a plaintext does not matter."""
    alice.start_session("bob", bundle_of(bob))
    for plaintext in (b"", b"\x00" * 16, bytes(range(256)) * 4096):
        assert bob.decrypt("alice", *alice.encrypt("bob", plaintext)) == plaintext


def test_late_messages_of_earlier_chains_decrypt(alice: Device, bob: Device) -> None:
    """A message overtaken by later ones, also across ratchet steps, still decrypts, and then never again."""
    alice.start_session("bob", bundle_of(bob))
    _exchange(alice, bob)
    late = alice.encrypt("bob", b"late")
    _exchange(alice, bob, rounds=MAX_RECEIVER_CHAINS - 1)
    assert bob.decrypt("alice", *late) == b"late"
    with pytest.raises(DuplicateMessageError):
        bob.decrypt("alice", *late)


def test_a_chain_too_old_is_forgotten(alice: Device, bob: Device) -> None:
    """Beyond the bound on chains a late message is refused, and nothing else is harmed."""
    alice.start_session("bob", bundle_of(bob))
    _exchange(alice, bob)
    late = alice.encrypt("bob", b"late")
    _exchange(alice, bob, rounds=MAX_RECEIVER_CHAINS + 1)
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", *late)
    _exchange(alice, bob)


def test_a_jump_ahead_is_bounded(alice: Device, bob: Device) -> None:
    """As many messages as libsignal allows may be missing, not one more, and refusing costs no state."""
    alice.start_session("bob", bundle_of(bob))
    sent = [alice.encrypt("bob", b"%d" % number) for number in range(MAX_FORWARD_JUMP + 2)]
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", *sent[MAX_FORWARD_JUMP + 1])
    assert bob.decrypt("alice", *sent[MAX_FORWARD_JUMP]) == b"%d" % MAX_FORWARD_JUMP
    assert bob.decrypt("alice", *sent[MAX_FORWARD_JUMP + 1]) == b"%d" % (MAX_FORWARD_JUMP + 1)
    assert bob.decrypt("alice", *sent[0]) == b"0"


def test_keys_of_missing_messages_are_bounded(alice: Device, bob: Device) -> None:
    """Only so many missing messages are waited for; the oldest are given up first."""
    alice.start_session("bob", bundle_of(bob))
    sent = [alice.encrypt("bob", b"%d" % number) for number in range(MAX_SKIPPED_KEYS + 12)]
    bob.decrypt("alice", *sent[10])
    bob.decrypt("alice", *sent[-1])  # 10 and 2000 missing
    with pytest.raises(DuplicateMessageError):
        bob.decrypt("alice", *sent[0])
    assert bob.decrypt("alice", *sent[11]) == b"11"


def test_two_devices_that_begin_at_once_agree(alice: Device, bob: Device) -> None:
    """When both write first, everything decrypts and both end up sending in one session, without prekeys."""
    alice.start_session("bob", bundle_of(bob))
    bob.start_session("alice", bundle_of(alice))
    from_alice, from_bob = alice.encrypt("bob", b"a"), bob.encrypt("alice", b"b")
    assert bob.decrypt("alice", *from_alice) == b"a"
    assert alice.decrypt("bob", *from_bob) == b"b"
    _exchange(alice, bob, rounds=3)
    assert alice.encrypt("bob", b"")[0] is CiphertextKind.MESSAGE
    assert bob.encrypt("alice", b"")[0] is CiphertextKind.MESSAGE


def test_a_new_session_replaces_the_old_one_and_both_decrypt(alice: Device, bob: Device) -> None:
    """What was under way in the replaced session still decrypts; the answer comes in the new one."""
    alice.start_session("bob", bundle_of(bob))
    _exchange(alice, bob)
    old = alice.encrypt("bob", b"old")
    alice.start_session("bob", bundle_of(bob))
    assert bob.decrypt("alice", *alice.encrypt("bob", b"new")) == b"new"
    assert bob.decrypt("alice", *old) == b"old"
    _exchange(alice, bob)


def test_without_session_nothing_passes(alice: Device, bob: Device) -> None:
    """Encrypting needs a session, and so does decrypting a message that does not begin one."""
    with pytest.raises(NoSessionError):
        alice.encrypt("bob", b"")
    alice.start_session("bob", bundle_of(bob))
    _exchange(alice, bob)
    bob.forget("alice")
    assert not bob.has_session("alice")
    with pytest.raises(NoSessionError):
        bob.decrypt("alice", *alice.encrypt("bob", b""))


def test_a_one_time_prekey_serves_one_session(alice: Device, bob: Device) -> None:
    """A second session by the same one-time prekey is refused, as is one by a signed prekey that never was."""
    bundle = bundle_of(bob)
    alice.start_session("bob", bundle)
    bob.decrypt("alice", *alice.encrypt("bob", b""))
    mallory: Device = SignalDevice()
    mallory.start_session("bob", bundle)
    with pytest.raises(UnknownPreKeyError):
        bob.decrypt("mallory", *mallory.encrypt("bob", b""))
    mallory.start_session("bob", dataclasses.replace(bundle_of(bob), signed_pre_key_id=77))
    with pytest.raises(UnknownPreKeyError):
        bob.decrypt("mallory", *mallory.encrypt("bob", b""))


def test_a_forged_prekey_message_uses_up_nothing(alice: Device, bob: Device) -> None:
    """A first message whose inside is not authentic leaves the one-time prekey for the genuine one."""
    alice.start_session("bob", bundle_of(bob))
    kind, genuine = alice.encrypt("bob", b"genuine")
    message = PreKeySignalMessage.parse(genuine)
    forged = dataclasses.replace(message, identity=KeyPair.generate().public).serialize()
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", kind, forged)
    assert bob.unused_pre_keys == 1
    assert bob.decrypt("alice", kind, genuine) == b"genuine"


def test_the_identity_of_a_session_cannot_be_swapped(alice: Device, bob: Device) -> None:
    """A later prekey message of a known session must name the identity that began it."""
    alice.start_session("bob", bundle_of(bob))
    bob.decrypt("alice", *alice.encrypt("bob", b"first"))
    kind, second = alice.encrypt("bob", b"second")
    swapped = dataclasses.replace(PreKeySignalMessage.parse(second), identity=KeyPair.generate().public)
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", kind, swapped.serialize())


def test_a_bundle_must_be_signed_by_its_identity(alice: Device, bob: Device) -> None:
    """A signed prekey of somebody else's is refused before anything is sent."""
    with pytest.raises(InvalidSignatureError):
        alice.start_session("bob", dataclasses.replace(bundle_of(bob), signed_pre_key=KeyPair.generate().public))
    with pytest.raises(InvalidSignatureError):
        alice.start_session("bob", dataclasses.replace(bundle_of(bob), signature=b"short"))
    assert not alice.has_session("bob")


def test_a_key_without_secret_is_refused(alice: Device, bob: Device) -> None:
    """Keys of small order would make the secret known to everybody."""
    with pytest.raises(InvalidKeyError):
        alice.start_session("bob", dataclasses.replace(bundle_of(bob), pre_key=bytes(32)))
    alice.start_session("bob", bundle_of(bob))
    kind, ciphertext = alice.encrypt("bob", b"")
    weak = dataclasses.replace(PreKeySignalMessage.parse(ciphertext), base_key=bytes(32))
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", kind, weak.serialize())


@pytest.mark.parametrize("encoded", [b"", b"\x05", b"\x04" + bytes(32), b"\x05" + bytes(31), b"\x05" + b"\xff" * 32])
def test_only_typed_canonical_public_keys_are_read(encoded: bytes) -> None:
    """Length, type byte and the unused top bit are checked."""
    with pytest.raises(InvalidKeyError):
        decode_public_key(encoded)


def test_public_keys_survive_encoding() -> None:
    """Encoding and decoding are each other's inverse."""
    public = KeyPair.generate().public
    assert decode_public_key(encode_public_key(public)) == public


@pytest.mark.parametrize("kind", list(CiphertextKind))
@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x33",
        b"\x22" + bytes(20),
        b"\x33" + b"\xff" * 30,
        b"\x33\x0a\x7f" + bytes(20),
        b"\x33\x0b" + bytes(20),
        b"\x33\x10\xff\xff\xff\xff\xff\x01" + bytes(20),
    ],
)
def test_garbage_is_a_typed_error(alice: Device, bob: Device, kind: CiphertextKind, garbage: bytes) -> None:
    """Whatever arrives instead of a message is refused as such."""
    alice.start_session("bob", bundle_of(bob))
    _exchange(alice, bob)
    with pytest.raises(InvalidMessageError):
        bob.decrypt("alice", kind, garbage)
