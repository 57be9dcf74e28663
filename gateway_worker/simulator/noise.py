"""The server's side of ``Noise_XX_25519_AESGCM_SHA256`` as WhatsApp uses it, and the ciphers that it ends in.

Three messages, each a ``HandshakeMessage``: the client's ephemeral key; the server's ephemeral key, its static key and
a certificate chain for that key; the client's static key and its ``ClientPayload``. What differs from plain Noise: the
prologue is the four bytes that open the connection, nonces are counted in 32 bits, and the chain (two links, signed
with XEdDSA below a root key that clients carry compiled in) takes the place of prior knowledge of the server's key.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError as ProtobufDecodeError

from gateway_worker.simulator.errors import BadClientError
from gateway_worker.simulator.signal.errors import InvalidKeyError
from gateway_worker.simulator.signal.keys import KEY_SIZE, KeyPair
from gateway_worker.waproto import cert, wa6

PROLOGUE: Final = b"WA\x06\x03"
"""The bytes that open a connection: magic, protocol version 6, dictionary version 3."""

_PROTOCOL_NAME: Final = b"Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"
_NONCE: Final = struct.Struct(">8xI")
_ROOT_SERIAL: Final = 0
_INTERMEDIATE_SERIAL: Final = 1
_LEAF_SERIAL: Final = 2
_BACKDATED: Final = 24 * 3600  # seconds; the clocks of client and server may differ
_VALID: Final = 3650 * 24 * 3600  # seconds


class NoiseError(BadClientError):
    """The peer's handshake or a frame of its is not what its keys would make."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What the server authenticates itself with.

    Attributes:
        root: The root's public key, 32 bytes; clients must be told it.
        static: The server's static key pair.
        chain: The serialized ``CertChain`` from the root to the static key.
    """

    root: bytes
    static: KeyPair
    chain: bytes

    @classmethod
    def generate(cls) -> ServerIdentity:
        """Make a new root, an intermediate and a static key, valid for ten years."""
        root, intermediate, static = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
        chain = cert.CertChain(
            intermediate=_certify(root, _ROOT_SERIAL, intermediate.public, _INTERMEDIATE_SERIAL),
            leaf=_certify(intermediate, _INTERMEDIATE_SERIAL, static.public, _LEAF_SERIAL),
        )
        return cls(root.public, static, chain.SerializeToString())


def _certify(issuer: KeyPair, issuer_serial: int, key: bytes, serial: int) -> cert.CertChain.NoiseCertificate:
    now = int(time.time())
    details = cert.CertChain.NoiseCertificate.Details(
        serial=serial, issuerSerial=issuer_serial, key=key, notBefore=now - _BACKDATED, notAfter=now + _VALID
    ).SerializeToString()
    return cert.CertChain.NoiseCertificate(details=details, signature=issuer.sign(details))


def _derive(salt: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF-SHA256 with empty info, 64 bytes in two halves."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    first = hmac.digest(key, b"\x01", hashlib.sha256)
    return first, hmac.digest(key, first + b"\x02", hashlib.sha256)


class Transport:
    """The two ciphers that a handshake ends in; each counts its own frames."""

    __slots__ = ("_decrypt", "_encrypt", "_received", "_sent")

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._encrypt = AESGCM(send_key).encrypt
        self._decrypt = AESGCM(receive_key).decrypt
        self._sent = 0
        self._received = 0

    def encrypt(self, payload: bytes) -> bytes:
        """Encrypt the next payload to the client; adds 16 bytes."""
        nonce = _NONCE.pack(self._sent)
        self._sent += 1
        return self._encrypt(nonce, payload, None)

    def decrypt(self, frame: bytes) -> bytes:
        """Decrypt the client's next frame.

        Raises:
            NoiseError: It is damaged, or not the next one.
        """
        nonce = _NONCE.pack(self._received)
        self._received += 1
        try:
            return self._decrypt(nonce, frame, None)
        except InvalidTag:
            raise NoiseError("a frame does not decrypt") from None


@dataclass(frozen=True, slots=True)
class Established:
    """What a finished handshake yields.

    Attributes:
        client_static: The client's static public key, 32 bytes: by it a device is known.
        payload: What the client says about itself.
        transport: The ciphers from here on.
    """

    client_static: bytes
    payload: wa6.ClientPayload
    transport: Transport


class Responder:
    """One handshake, seen from the server: :meth:`hello`, then :meth:`finish`."""

    def __init__(self, identity: ServerIdentity) -> None:
        self._identity = identity
        self._ephemeral = KeyPair.generate()
        self._hash = self._salt = _PROTOCOL_NAME
        self._cipher = AESGCM(_PROTOCOL_NAME)
        self._counter = 0
        self._authenticate(PROLOGUE)

    def hello(self, frame: bytes) -> bytes:
        """Answer the client's hello with the server's.

        Raises:
            NoiseError: The frame is no client hello.
        """
        hello = _parse(frame).clientHello
        self._require_key(hello.ephemeral)
        self._authenticate(hello.ephemeral)
        self._authenticate(self._ephemeral.public)
        self._mix(self._ephemeral, hello.ephemeral)
        static = self._seal(self._identity.static.public)
        self._mix(self._identity.static, hello.ephemeral)
        answer = wa6.HandshakeMessage.ServerHello(
            ephemeral=self._ephemeral.public, static=static, payload=self._seal(self._identity.chain)
        )
        return wa6.HandshakeMessage(serverHello=answer).SerializeToString()

    def finish(self, frame: bytes) -> Established:
        """Take the client's last message.

        Raises:
            NoiseError: The frame is no client finish, or made with other keys.
        """
        finish = _parse(frame).clientFinish
        client_static = self._open(finish.static)
        self._require_key(client_static)
        self._mix(self._ephemeral, client_static)
        raw = self._open(finish.payload)
        receive_key, send_key = _derive(self._salt, b"")
        try:
            payload = wa6.ClientPayload.FromString(raw)
        except ProtobufDecodeError:
            raise NoiseError("the client's payload is no ClientPayload") from None
        return Established(client_static, payload, Transport(send_key, receive_key))

    @staticmethod
    def _require_key(key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise NoiseError(f"a key has {KEY_SIZE} bytes, not {len(key)}")

    def _authenticate(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix(self, own: KeyPair, other: bytes) -> None:
        try:
            secret = own.agree(other)
        except InvalidKeyError as error:
            raise NoiseError(str(error)) from None
        self._salt, key = _derive(self._salt, secret)
        self._cipher = AESGCM(key)
        self._counter = 0

    def _next_nonce(self) -> bytes:
        self._counter += 1
        return _NONCE.pack(self._counter - 1)

    def _seal(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(self._next_nonce(), plaintext, self._hash)
        self._authenticate(ciphertext)
        return ciphertext

    def _open(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = self._cipher.decrypt(self._next_nonce(), ciphertext, self._hash)
        except InvalidTag:
            raise NoiseError("a part of the handshake does not decrypt") from None
        self._authenticate(ciphertext)
        return plaintext


def _parse(frame: bytes) -> wa6.HandshakeMessage:
    try:
        return wa6.HandshakeMessage.FromString(frame)
    except ProtobufDecodeError:
        raise NoiseError("the frame is no HandshakeMessage") from None
