"""Media encryption: round trips, and every way in which a file can fail to be what its message says."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_worker.simulator.media_crypto import EncryptedMedia, MediaError, MediaKind, decrypt_media, encrypt_media


def _decrypt(media: EncryptedMedia, kind: MediaKind = MediaKind.IMAGE) -> bytes:
    return decrypt_media(media.data, kind, key=media.key, sha256=media.sha256, encrypted_sha256=media.encrypted_sha256)


def test_a_recorded_file_decrypts() -> None:
    """A file encrypted by another implementation, under the key 0, 1, … 31, decrypts to what it was."""
    data = bytes.fromhex("1118940b181502e654b346af67b6ada2244a24ba2f80a525c5dd6dae5d4f2471655b5542c3b7075e0281")
    plaintext = b"a picture of a cat"
    decrypted = decrypt_media(
        data,
        MediaKind.IMAGE,
        key=bytes(range(32)),
        sha256=hashlib.sha256(plaintext).digest(),
        encrypted_sha256=hashlib.sha256(data).digest(),
    )
    assert decrypted == plaintext


@given(plaintext=st.binary(max_size=300), kind=st.sampled_from(MediaKind))
def test_what_is_encrypted_decrypts(plaintext: bytes, kind: MediaKind) -> None:
    """Any file of any kind survives; lengths and hashes are those of the file."""
    media = encrypt_media(plaintext, kind)
    assert _decrypt(media, kind) == plaintext
    assert media.length == len(plaintext)
    assert media.sha256 == hashlib.sha256(plaintext).digest()
    assert media.encrypted_sha256 == hashlib.sha256(media.data).digest()


@given(plaintext=st.binary(max_size=100), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_an_altered_file_is_refused(plaintext: bytes, position: float, bit: int) -> None:
    """A flipped bit is noticed by the hash, and by the MAC when the hash was made to fit."""
    media = encrypt_media(plaintext, MediaKind.IMAGE)
    altered = bytearray(media.data)
    altered[int(position * len(altered))] ^= 1 << bit
    with pytest.raises(MediaError, match="SHA-256"):
        _decrypt(dataclasses.replace(media, data=bytes(altered)))
    rehashed = hashlib.sha256(altered).digest()
    with pytest.raises(MediaError, match="MAC"):
        _decrypt(dataclasses.replace(media, data=bytes(altered), encrypted_sha256=rehashed))


def test_key_kind_and_hash_must_fit() -> None:
    """A file opens with its own key, as its own kind, and only as the plaintext that its message names."""
    media = encrypt_media(b"x", MediaKind.IMAGE)
    with pytest.raises(MediaError, match="MAC"):
        _decrypt(media, MediaKind.VIDEO)
    with pytest.raises(MediaError, match="MAC"):
        _decrypt(dataclasses.replace(media, key=bytes(32)))
    with pytest.raises(MediaError, match="decrypted file"):
        _decrypt(dataclasses.replace(media, sha256=bytes(32)))


@pytest.mark.parametrize("data", [b"", b"short", bytes(10)])
def test_a_cut_off_file_is_refused(data: bytes) -> None:
    """Even a file without room for a MAC is a typed error."""
    media = encrypt_media(b"x", MediaKind.IMAGE)
    with pytest.raises(MediaError):
        _decrypt(dataclasses.replace(media, data=data, encrypted_sha256=hashlib.sha256(data).digest()))
