"""WhatsApp's encryption of media: what is uploaded is ciphertext, the key travels in the message.

A 32-byte media key is expanded with HKDF-SHA256 (the info string names the kind of media) to an IV, an AES-256 key
and an HMAC key. The uploaded file is the AES-CBC ciphertext (PKCS#7) followed by the first 10 bytes of
HMAC-SHA256(IV || ciphertext). A message carries SHA-256 of the plaintext and of the uploaded file.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MEDIA_KEY_SIZE = 32
_MAC_SIZE = 10
_AES_BLOCK_BITS = 128
_EXPANDED_SIZE = 112  # IV, cipher key, MAC key, and 32 bytes of a reference key that nothing here uses


class MediaError(Exception):
    """A file is not what its message says: cut off, altered, or of another key or kind."""


class MediaKind(enum.Enum):
    """Kinds of media; the value is the info string of the key derivation. Stickers are images."""

    IMAGE = "WhatsApp Image Keys"
    VIDEO = "WhatsApp Video Keys"
    AUDIO = "WhatsApp Audio Keys"
    DOCUMENT = "WhatsApp Document Keys"
    HISTORY = "WhatsApp History Keys"
    APP_STATE = "WhatsApp App State Keys"


@dataclass(frozen=True, slots=True)
class EncryptedMedia:
    """An encrypted file and what a message must say about it.

    Attributes:
        data: The file as uploaded: ciphertext and MAC.
        key: Media key, 32 bytes.
        sha256: SHA-256 of the plaintext.
        encrypted_sha256: SHA-256 of ``data``.
        length: Length of the plaintext in bytes.
    """

    data: bytes
    key: bytes
    sha256: bytes
    encrypted_sha256: bytes
    length: int


@dataclass(frozen=True, slots=True)
class _Keys:
    iv: bytes
    cipher_key: bytes
    mac_key: bytes

    @classmethod
    def expand(cls, media_key: bytes, kind: MediaKind) -> _Keys:
        """Derive the keys of one file."""
        expanded = HKDF(SHA256(), _EXPANDED_SIZE, salt=None, info=kind.value.encode()).derive(media_key)
        return cls(iv=expanded[:16], cipher_key=expanded[16:48], mac_key=expanded[48:80])

    def cipher(self) -> Cipher[CBC]:
        """The cipher of the file."""
        return Cipher(AES(self.cipher_key), CBC(self.iv))

    def mac(self, ciphertext: bytes) -> bytes:
        """The MAC that follows a ciphertext."""
        return hmac.digest(self.mac_key, self.iv + ciphertext, "sha256")[:_MAC_SIZE]


def encrypt_media(plaintext: bytes, kind: MediaKind) -> EncryptedMedia:
    """Encrypt a file under a new random key."""
    key = secrets.token_bytes(MEDIA_KEY_SIZE)
    keys = _Keys.expand(key, kind)
    padder = padding.PKCS7(_AES_BLOCK_BITS).padder()
    encryptor = keys.cipher().encryptor()
    ciphertext = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    data = ciphertext + keys.mac(ciphertext)
    return EncryptedMedia(
        data=data,
        key=key,
        sha256=hashlib.sha256(plaintext).digest(),
        encrypted_sha256=hashlib.sha256(data).digest(),
        length=len(plaintext),
    )


def decrypt_media(data: bytes, kind: MediaKind, *, key: bytes, sha256: bytes, encrypted_sha256: bytes) -> bytes:
    """Decrypt an uploaded file and check it against its message.

    Args:
        data: The file as uploaded.
        kind: Kind of media that the message says it is.
        key: The message's media key.
        sha256: The message's SHA-256 of the plaintext.
        encrypted_sha256: The message's SHA-256 of the file as uploaded.

    Raises:
        MediaError: any of them does not fit.
    """
    if not hmac.compare_digest(hashlib.sha256(data).digest(), encrypted_sha256):
        raise MediaError("the uploaded file has another SHA-256 than its message says")
    ciphertext, mac = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
    keys = _Keys.expand(key, kind)
    if not hmac.compare_digest(keys.mac(ciphertext), mac):
        raise MediaError("the file's MAC does not fit the media key and kind")
    decryptor = keys.cipher().decryptor()
    unpadder = padding.PKCS7(_AES_BLOCK_BITS).unpadder()
    try:
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        plaintext = unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise MediaError("the file is not whole blocks with PKCS#7 padding") from error
    if not hmac.compare_digest(hashlib.sha256(plaintext).digest(), sha256):
        raise MediaError("the decrypted file has another SHA-256 than its message says")
    return plaintext
