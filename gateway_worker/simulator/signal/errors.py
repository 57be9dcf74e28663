"""What can go wrong when a message or a bundle from another device is processed.

::

    SignalError
     +-- InvalidMessageError        malformed, tampered with, or meant for another session
     +-- DuplicateMessageError      decrypted before ("old counter"), or its key was dropped
     +-- NoSessionError             a message within a session that does not exist here
     +-- UnknownPreKeyError         names a prekey that was used up or never existed
     +-- InvalidKeyError            bytes that are no usable Curve25519 public key
     +-- InvalidSignatureError      a signed prekey that its identity key did not sign

None of them changes any session: what failed can be delivered again, and what is genuine still decrypts.
"""

from __future__ import annotations


class SignalError(Exception):
    """Base of everything that this package raises about its input."""


class InvalidMessageError(SignalError):
    """The message is malformed, was tampered with, or does not belong to any session with its sender."""


class DuplicateMessageError(SignalError):
    """The message's counter was used before; libsignal calls it "old counter"."""


class NoSessionError(SignalError):
    """There is no session with this device."""


class UnknownPreKeyError(SignalError):
    """The prekey that the message was made for is not here (any more)."""


class InvalidKeyError(SignalError):
    """The bytes are not a Curve25519 public key that a key agreement can use."""


class InvalidSignatureError(SignalError):
    """The signature does not fit the key and the message."""
