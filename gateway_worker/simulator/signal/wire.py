"""The two messages of the protocol, as bytes.

Both begin with a version byte (0x33: made by version 3, speaker of version 3) and a protobuf. Only a handful of
scalar fields exist, so they are read and written here directly, which also keeps the exact bytes that the MAC covers::

    SignalMessage       33 | ratchet key = 1, counter = 2, previous counter = 3, ciphertext = 4 | MAC, 8 bytes
    PreKeySignalMessage 33 | prekey id = 1, base key = 2, identity key = 3, SignalMessage = 4,
                             registration id = 5, signed prekey id = 6
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_worker.simulator.signal.errors import InvalidKeyError, InvalidMessageError
from gateway_worker.simulator.signal.keys import decode_public_key, encode_public_key

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION_BYTE = b"\x33"
MAC_SIZE = 8

_VARINT = 0
_LENGTH_DELIMITED = 2
_MAX_UINT32 = 0xFFFFFFFF
_MAX_VARINT_BITS = 63


class CiphertextKind(enum.Enum):
    """Which of the two messages some bytes are; the values are those of WhatsApp's ``<enc type>``."""

    PRE_KEY = "pkmsg"
    MESSAGE = "msg"


@dataclass(frozen=True, slots=True)
class SignalMessage:
    """A message within a session.

    Attributes:
        ratchet_key: The sender's ratchet key, 32 bytes.
        counter: Number of the message in its chain, from 0.
        previous_counter: Length of the sender's previous chain, less one. Informative: nobody acts on it.
        ciphertext: AES-256-CBC ciphertext of the padded plaintext.
        authenticated: The bytes that the MAC covers, version byte and protobuf.
        mac: The MAC, 8 bytes.
    """

    ratchet_key: bytes
    counter: int
    previous_counter: int
    ciphertext: bytes
    authenticated: bytes
    mac: bytes

    @classmethod
    def create(
        cls,
        *,
        ratchet_key: bytes,
        counter: int,
        previous_counter: int,
        ciphertext: bytes,
        mac_key: bytes,
        sender_identity: bytes,
        receiver_identity: bytes,
    ) -> SignalMessage:
        """Build and authenticate a message. Keys are 32 bytes each."""
        body = b"".join(
            (
                VERSION_BYTE,
                _bytes_field(1, encode_public_key(ratchet_key)),
                _uint_field(2, counter),
                _uint_field(3, previous_counter),
                _bytes_field(4, ciphertext),
            )
        )
        mac = _mac(mac_key, sender_identity, receiver_identity, body)
        return cls(ratchet_key, counter, previous_counter, ciphertext, body, mac)

    @classmethod
    def parse(cls, data: bytes) -> SignalMessage:
        """Read a message.

        Raises:
            InvalidMessageError: it is malformed.
        """
        if len(data) <= len(VERSION_BYTE) + MAC_SIZE or not data.startswith(VERSION_BYTE):
            raise InvalidMessageError("not a Signal message of version 3")
        authenticated, mac = data[:-MAC_SIZE], data[-MAC_SIZE:]
        fields = dict(_fields(authenticated[len(VERSION_BYTE) :]))
        return cls(
            ratchet_key=_key(fields, 1),
            counter=_uint(fields, 2),
            previous_counter=_uint(fields, 3, default=0),
            ciphertext=_bytes(fields, 4),
            authenticated=authenticated,
            mac=mac,
        )

    def serialize(self) -> bytes:
        """Return the bytes that travel."""
        return self.authenticated + self.mac

    def verify(self, mac_key: bytes, *, sender_identity: bytes, receiver_identity: bytes) -> None:
        """Check the MAC.

        Raises:
            InvalidMessageError: it does not fit.
        """
        expected = _mac(mac_key, sender_identity, receiver_identity, self.authenticated)
        if not hmac.compare_digest(expected, self.mac):
            raise InvalidMessageError("the MAC does not fit the message")


@dataclass(frozen=True, slots=True)
class PreKeySignalMessage:
    """A first message: what the receiver needs to build the session, around a message within it.

    Attributes:
        registration_id: The sender's registration id. Not authenticated by anything.
        pre_key_id: Number of the receiver's one-time prekey, None when none was used.
        signed_pre_key_id: Number of the receiver's signed prekey.
        base_key: The sender's key made for this session, 32 bytes.
        identity: The sender's identity key, 32 bytes.
        message: The message within the session.
    """

    registration_id: int
    pre_key_id: int | None
    signed_pre_key_id: int
    base_key: bytes
    identity: bytes
    message: SignalMessage

    @classmethod
    def parse(cls, data: bytes) -> PreKeySignalMessage:
        """Read a message.

        Raises:
            InvalidMessageError: it, or the message inside, is malformed.
        """
        if not data.startswith(VERSION_BYTE):
            raise InvalidMessageError("not a Signal message of version 3")
        fields = dict(_fields(data[len(VERSION_BYTE) :]))
        return cls(
            registration_id=_uint(fields, 5, default=0),
            pre_key_id=_uint(fields, 1) if 1 in fields else None,
            signed_pre_key_id=_uint(fields, 6),
            base_key=_key(fields, 2),
            identity=_key(fields, 3),
            message=SignalMessage.parse(_bytes(fields, 4)),
        )

    def serialize(self) -> bytes:
        """Return the bytes that travel."""
        return b"".join(
            (
                VERSION_BYTE,
                b"" if self.pre_key_id is None else _uint_field(1, self.pre_key_id),
                _bytes_field(2, encode_public_key(self.base_key)),
                _bytes_field(3, encode_public_key(self.identity)),
                _bytes_field(4, self.message.serialize()),
                _uint_field(5, self.registration_id),
                _uint_field(6, self.signed_pre_key_id),
            )
        )


def _mac(key: bytes, sender_identity: bytes, receiver_identity: bytes, body: bytes) -> bytes:
    """Authenticate a message together with the identities at both ends."""
    covered = encode_public_key(sender_identity) + encode_public_key(receiver_identity) + body
    return hmac.digest(key, covered, "sha256")[:MAC_SIZE]


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte is what a varint is
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _uint_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at a position and the position after it."""
    value = shift = 0
    while position < len(data) and shift <= _MAX_VARINT_BITS:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the top bit says that more bytes follow
            return value, position
        shift += 7
    raise InvalidMessageError("a number in the message does not end")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; only the two wire types that these messages use are known."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        value, position = _read_varint(data, position)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        elif tag & 7 == _LENGTH_DELIMITED and value <= len(data) - position:
            yield tag >> 3, data[position : position + value]
            position += value
        else:
            raise InvalidMessageError("a field of the message is cut off or of a foreign type")


def _uint(fields: dict[int, int | bytes], number: int, *, default: int | None = None) -> int:
    value = fields.get(number, default)
    if not isinstance(value, int) or value > _MAX_UINT32:
        raise InvalidMessageError(f"field {number} is not a number of 32 bits")
    return value


def _bytes(fields: dict[int, int | bytes], number: int) -> bytes:
    value = fields.get(number)
    if not isinstance(value, bytes):
        raise InvalidMessageError(f"field {number} is missing")
    return value


def _key(fields: dict[int, int | bytes], number: int) -> bytes:
    try:
        return decode_public_key(_bytes(fields, number))
    except InvalidKeyError as error:
        raise InvalidMessageError(f"field {number} is not a public key") from error
