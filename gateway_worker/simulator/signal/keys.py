"""Curve25519 key pairs, their signatures, and the prekeys that a device publishes.

A public key is 32 bytes everywhere except on the wire inside Signal messages and under signatures, where libsignal
puts a type byte (0x05, "DJB") before it: `encode_public_key` and `decode_public_key` convert.
"""

from __future__ import annotations

from dataclasses import dataclass

import xeddsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from gateway_worker.simulator.signal.errors import InvalidKeyError, InvalidSignatureError

KEY_SIZE = 32
SIGNATURE_SIZE = 64
_CURVE25519_TYPE = 0x05
_SIGN_BIT = 0x80


def encode_public_key(public: bytes) -> bytes:
    """Put the type byte before a 32-byte public key."""
    return bytes((_CURVE25519_TYPE,)) + public


def decode_public_key(encoded: bytes) -> bytes:
    """Return the 32 bytes of a typed public key.

    Raises:
        InvalidKeyError: the length or the type byte is wrong, or the top bit is set. X25519 ignores that bit, so two
            spellings of one key would agree on one secret; no key generator sets it.
    """
    if len(encoded) != KEY_SIZE + 1 or encoded[0] != _CURVE25519_TYPE:
        raise InvalidKeyError("a public key is the byte 5 and 32 bytes")
    if encoded[-1] & _SIGN_BIT:
        raise InvalidKeyError("the top bit of a public key is 0")
    return encoded[1:]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A Curve25519 key pair, for key agreement (X25519) and for signatures (XEdDSA).

    Attributes:
        private: The private key.
        public: The public key, 32 bytes.
    """

    private: X25519PrivateKey
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new random key pair."""
        private = X25519PrivateKey.generate()
        return cls(private=private, public=private.public_key().public_bytes_raw())

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """Rebuild a key pair from the 32 bytes of its private key."""
        key = X25519PrivateKey.from_private_bytes(private)
        return cls(private=key, public=key.public_key().public_bytes_raw())

    def agree(self, their_public: bytes) -> bytes:
        """Compute the 32-byte secret that this key pair shares with another's public key.

        Raises:
            InvalidKeyError: the other key is of small order, so that the secret would be no secret.
        """
        try:
            return self.private.exchange(X25519PublicKey.from_public_bytes(their_public))
        except ValueError as error:
            raise InvalidKeyError("the public key does not lead to a shared secret") from error

    def sign(self, message: bytes) -> bytes:
        """Sign with XEdDSA; the result is 64 bytes."""
        # XEdDSA signs with whichever of the scalar and its negative has a public Edwards key of sign 0.
        private = xeddsa.priv_force_sign(self.private.private_bytes_raw(), set_sign_bit=False)
        return bytes(xeddsa.ed25519_priv_sign(private, message))


def verify_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """Check an XEdDSA signature by the holder of a 32-byte Curve25519 public key.

    libsignal's older signatures carry the sign of the Edwards key in the otherwise unused top bit of the last byte;
    XEdDSA proper always leaves it 0. Both are accepted, as every libsignal does.

    Raises:
        InvalidSignatureError: the signature is not this key's over this message.
    """
    if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        raise InvalidSignatureError("a signature has 64 bytes, a key 32")
    sign_bit = bool(signature[-1] & _SIGN_BIT)
    edwards = xeddsa.curve25519_pub_to_ed25519_pub(public, set_sign_bit=sign_bit)
    stripped = signature[:-1] + bytes((signature[-1] & ~_SIGN_BIT,))
    if not xeddsa.ed25519_verify(stripped, edwards, message):
        raise InvalidSignatureError("the signature does not fit key and message")


@dataclass(frozen=True, slots=True)
class PreKey:
    """A one-time prekey: given to one peer, used for one session.

    Attributes:
        id: Number of the key within its device, 1 to 2**24-1 (WhatsApp transports three bytes).
        pair: The key pair.
    """

    id: int
    pair: KeyPair


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """The prekey that every peer gets, signed by the device's identity key.

    Attributes:
        id: Number of the key within its device, 1 to 2**24-1.
        pair: The key pair.
        signature: XEdDSA signature, 64 bytes, over the typed public key.
    """

    id: int
    pair: KeyPair
    signature: bytes

    @classmethod
    def generate(cls, key_id: int, identity: KeyPair) -> SignedPreKey:
        """Make a new signed prekey for an identity."""
        pair = KeyPair.generate()
        return cls(id=key_id, pair=pair, signature=identity.sign(encode_public_key(pair.public)))


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What a device must know of another to write to it without having heard from it: public keys only.

    Attributes:
        registration_id: The other device's registration id.
        identity: Its identity key, 32 bytes.
        signed_pre_key_id: Number of its signed prekey.
        signed_pre_key: Its signed prekey, 32 bytes.
        signature: The identity's signature, 64 bytes, over the typed signed prekey.
        pre_key_id: Number of a one-time prekey, None when it had none left.
        pre_key: That one-time prekey, 32 bytes, None when it had none left.
    """

    registration_id: int
    identity: bytes
    signed_pre_key_id: int
    signed_pre_key: bytes
    signature: bytes
    pre_key_id: int | None = None
    pre_key: bytes | None = None

    def verify(self) -> None:
        """Check that the signed prekey is its identity's.

        Raises:
            InvalidSignatureError: it is not.
        """
        verify_signature(self.identity, encode_public_key(self.signed_pre_key), self.signature)
