"""The Signal protocol, version 3: X3DH key agreement and the Double Ratchet, for the devices that the simulator plays.

Pure computation: no I/O, no clock, sessions in memory. The wire format and every constant are those of libsignal's
protocol version 3 (the one WhatsApp speaks), so a session's other end can be any libsignal.

Sources: "The X3DH Key Agreement Protocol" and "The Double Ratchet Algorithm" (signal.org/docs) for the cryptography;
libsignal's ``WhisperTextProtocol.proto`` for the messages.

Layers, lowest first: ``keys`` and ``wire`` (key pairs, bundles, the two messages), ``chains`` (key derivation),
``session`` (one Double Ratchet), ``x3dh`` (how a session begins), ``device`` (everything one device holds).
"""

from gateway_worker.simulator.signal.device import SignalDevice
from gateway_worker.simulator.signal.errors import (
    DuplicateMessageError,
    InvalidKeyError,
    InvalidMessageError,
    InvalidSignatureError,
    NoSessionError,
    SignalError,
    UnknownPreKeyError,
)
from gateway_worker.simulator.signal.keys import KeyPair, PreKey, PreKeyBundle, SignedPreKey, verify_signature
from gateway_worker.simulator.signal.wire import CiphertextKind

__all__ = [
    "CiphertextKind",
    "DuplicateMessageError",
    "InvalidKeyError",
    "InvalidMessageError",
    "InvalidSignatureError",
    "KeyPair",
    "NoSessionError",
    "PreKey",
    "PreKeyBundle",
    "SignalDevice",
    "SignalError",
    "SignedPreKey",
    "UnknownPreKeyError",
    "verify_signature",
]
