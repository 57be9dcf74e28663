"""Between a message's content and Signal: WhatsApp's padding, the ``<enc>`` element, and who a companion belongs to."""

from __future__ import annotations

import secrets

from google.protobuf.message import DecodeError

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.signal import (
    CiphertextKind,
    InvalidMessageError,
    InvalidSignatureError,
    SignalError,
    verify_signature,
)
from gateway_worker.waproto import adv

ENC_VERSION = "2"
_MAX_PADDING = 16

_ACCOUNT_SIGNATURE_PREFIX = b"\x06\x00"
_DEVICE_SIGNATURE_PREFIX = b"\x06\x01"


class UntrustedDeviceError(SignalError):
    """A companion did not prove that it belongs to the account that it writes for."""


def pad(content: bytes) -> bytes:
    """Append 1 to 16 bytes, each their number, so that the length of a text does not show."""
    count = secrets.randbelow(_MAX_PADDING) + 1
    return content + bytes((count,)) * count


def unpad(padded: bytes) -> bytes:
    """Remove the padding.

    Raises:
        InvalidMessageError: it is none. The sender authenticated it, so the sender itself padded badly.
    """
    count = padded[-1] if padded else 0
    if not 1 <= count <= _MAX_PADDING or not padded.endswith(bytes((count,)) * count):
        raise InvalidMessageError("the content does not end in 1 to 16 bytes of their number")
    return padded[:-count]


def enc_node(kind: CiphertextKind, ciphertext: bytes, *, media_type: str = "", retry: int = 0) -> Node:
    """Build an ``<enc>`` element.

    Args:
        kind: Which Signal message it is.
        ciphertext: The Signal message.
        media_type: Kind of media in it, for example ``image``; empty for none.
        retry: Which repetition this is; 0 for none.
    """
    attrs = {"v": ENC_VERSION, "type": kind.value}
    if media_type:
        attrs["mediatype"] = media_type
    if retry:
        attrs["count"] = str(retry)
    return Node("enc", attrs, ciphertext)


def read_enc(node: Node) -> tuple[CiphertextKind, bytes]:
    """Read an ``<enc>`` element.

    Raises:
        InvalidMessageError: it is of a version or type that a direct message does not have.
    """
    version, kind = node.attrs.get("v", ""), node.attrs.get("type", "")
    if version != ENC_VERSION or kind not in {known.value for known in CiphertextKind}:
        raise InvalidMessageError(f"an <enc> of version {version!r} and type {kind!r} is not a direct message")
    return CiphertextKind(kind), node.data


def verify_companion(device_identity: bytes, *, account_key: bytes, companion_key: bytes) -> None:
    """Check that an account linked a companion, as phones do before they trust a companion's first message.

    Args:
        device_identity: Content of ``<device-identity>``, a serialized ``ADVSignedDeviceIdentity``.
        account_key: Identity key of the account's device 0, 32 bytes.
        companion_key: Identity key that the companion uses, 32 bytes.

    Raises:
        UntrustedDeviceError: the account did not sign this companion, or the companion did not sign back.
    """
    identity = adv.ADVSignedDeviceIdentity()
    try:
        identity.ParseFromString(device_identity)
    except DecodeError as error:
        raise UntrustedDeviceError("the device identity is not readable") from error
    if identity.accountSignatureKey != account_key:
        raise UntrustedDeviceError("the device identity names another account's key")
    by_account = _ACCOUNT_SIGNATURE_PREFIX + identity.details + companion_key
    by_device = _DEVICE_SIGNATURE_PREFIX + identity.details + companion_key + account_key
    try:
        verify_signature(account_key, by_account, identity.accountSignature)
        verify_signature(companion_key, by_device, identity.deviceSignature)
    except InvalidSignatureError as error:
        raise UntrustedDeviceError("a signature of the device identity does not fit") from error
