"""The key derivation of the Double Ratchet: root keys, chain keys and the keys of single messages."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from gateway_worker.simulator.signal.keys import KeyPair

_KEY_SIZE = 32
_IV_SIZE = 16
_MESSAGE_KEY_SEED = b"\x01"
_CHAIN_KEY_SEED = b"\x02"


def hkdf(secret: bytes, *, info: bytes, length: int, salt: bytes | None = None) -> bytes:
    """Derive key material with HKDF-SHA256 (RFC 5869). No salt means 32 zero bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


@dataclass(frozen=True, slots=True)
class MessageKeys:
    """The keys of one message.

    Attributes:
        cipher_key: AES-256 key, 32 bytes.
        mac_key: HMAC-SHA256 key, 32 bytes.
        iv: CBC initialisation vector, 16 bytes.
    """

    cipher_key: bytes
    mac_key: bytes
    iv: bytes

    @classmethod
    def derive(cls, seed: bytes) -> MessageKeys:
        """Expand the 32-byte seed that a chain gives for a message."""
        material = hkdf(seed, info=b"WhisperMessageKeys", length=2 * _KEY_SIZE + _IV_SIZE)
        return cls(material[:_KEY_SIZE], material[_KEY_SIZE : 2 * _KEY_SIZE], material[2 * _KEY_SIZE :])


@dataclass(frozen=True, slots=True)
class ChainKey:
    """A place in a symmetric-key chain.

    Attributes:
        key: The chain key, 32 bytes.
        index: Counter of the next message in the chain, from 0.
    """

    key: bytes
    index: int = 0

    def message_seed(self) -> bytes:
        """Return the 32-byte seed of the next message's keys (see `MessageKeys.derive`)."""
        return hmac.digest(self.key, _MESSAGE_KEY_SEED, "sha256")

    def next(self) -> ChainKey:
        """Return the place after the next message."""
        return ChainKey(hmac.digest(self.key, _CHAIN_KEY_SEED, "sha256"), self.index + 1)


@dataclass(frozen=True, slots=True)
class RootKey:
    """The key that each step of the Diffie-Hellman ratchet goes into.

    Attributes:
        key: 32 bytes.
    """

    key: bytes

    def ratchet(self, ours: KeyPair, their_public: bytes) -> tuple[RootKey, ChainKey]:
        """Take one Diffie-Hellman step; returns the next root key and the chain it opens.

        Raises:
            InvalidKeyError: the other's key leads to no shared secret.
        """
        return split_secrets(hkdf(ours.agree(their_public), info=b"WhisperRatchet", length=64, salt=self.key))


def split_secrets(secrets: bytes) -> tuple[RootKey, ChainKey]:
    """Read 64 derived bytes as root key and chain key."""
    return RootKey(secrets[:_KEY_SIZE]), ChainKey(secrets[_KEY_SIZE:])
