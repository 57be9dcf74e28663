"""A device: its identity, its prekeys, and its sessions with other devices."""

from __future__ import annotations

import secrets
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway_worker.simulator.signal.errors import (
    DuplicateMessageError,
    InvalidMessageError,
    NoSessionError,
    SignalError,
    UnknownPreKeyError,
)
from gateway_worker.simulator.signal.keys import KeyPair, PreKey, PreKeyBundle, SignedPreKey
from gateway_worker.simulator.signal.wire import CiphertextKind, PreKeySignalMessage, SignalMessage
from gateway_worker.simulator.signal.x3dh import initiate, respond

if TYPE_CHECKING:
    from gateway_worker.simulator.signal.session import Session

MAX_ARCHIVED_SESSIONS = 40
"""Replaced sessions kept per device, for messages that were under way; libsignal's bound."""

_MAX_REGISTRATION_ID = 0x3FFF
_MAX_KEY_ID = 0xFFFFFF

Address = TypeVar("Address", bound=Hashable)


@dataclass(slots=True)
class _Record:
    """The sessions with one device: the one to send in, and those it replaced, newest first."""

    current: Session
    archived: list[Session] = field(default_factory=list)

    def find(self, base_key: bytes) -> Session | None:
        """Return the session with this base key."""
        return next((session for session in (self.current, *self.archived) if session.base_key == base_key), None)

    def promote(self, session: Session) -> None:
        """Make a session (new or archived) the current one."""
        if session is self.current:
            return
        self.archived = [self.current, *(other for other in self.archived if other is not session)]
        del self.archived[MAX_ARCHIVED_SESSIONS:]
        self.current = session


class SignalDevice(Generic[Address]):
    """One device's end of the protocol: keys and sessions, in memory.

    Other devices are named by any hashable value. A replaced session still decrypts what was under way in it, and
    each side moves to the session that the other sends in, so two devices that begin at the same time agree again.

    Args:
        identity: The identity key pair. None: a new one.
    """

    def __init__(self, identity: KeyPair | None = None) -> None:
        self.identity = identity or KeyPair.generate()
        self.registration_id = secrets.randbelow(_MAX_REGISTRATION_ID) + 1
        self.signed_pre_key = SignedPreKey.generate(1, self.identity)
        self._pre_keys: dict[int, PreKey] = {}
        self._last_pre_key_id = 0
        self._records: dict[Address, _Record] = {}

    @property
    def unused_pre_keys(self) -> int:
        """Number of one-time prekeys that no message has used yet."""
        return len(self._pre_keys)

    def generate_pre_keys(self, count: int) -> list[PreKey]:
        """Make one-time prekeys and keep them until a message uses them."""
        made = []
        for _ in range(count):
            self._last_pre_key_id = self._last_pre_key_id % _MAX_KEY_ID + 1
            key = PreKey(self._last_pre_key_id, KeyPair.generate())
            self._pre_keys[key.id] = key
            made.append(key)
        return made

    def has_session(self, address: Address) -> bool:
        """Tell whether there is a session to send in."""
        return address in self._records

    def forget(self, address: Address) -> None:
        """Drop all sessions with a device."""
        self._records.pop(address, None)

    def start_session(self, address: Address, bundle: PreKeyBundle) -> None:
        """Begin a session with a device by its bundle; an existing one is archived.

        Raises:
            InvalidSignatureError: the bundle's signed prekey is not its identity's.
            InvalidKeyError: a key in the bundle is not usable.
        """
        self._adopt(address, initiate(self.identity, self.registration_id, bundle))

    def encrypt(self, address: Address, plaintext: bytes) -> tuple[CiphertextKind, bytes]:
        """Encrypt for a device; returns the kind of message and its bytes.

        Raises:
            NoSessionError: there is no session with it; `start_session` begins one.
        """
        record = self._records.get(address)
        if record is None:
            raise NoSessionError(f"no session with {address}")
        message = record.current.encrypt(plaintext)
        kind = CiphertextKind.PRE_KEY if isinstance(message, PreKeySignalMessage) else CiphertextKind.MESSAGE
        return kind, message.serialize()

    def decrypt(self, address: Address, kind: CiphertextKind, ciphertext: bytes) -> bytes:
        """Decrypt what a device sent. Nothing changes unless this succeeds.

        Raises:
            InvalidMessageError: malformed, tampered with, or of no session with this device.
            DuplicateMessageError: decrypted before.
            NoSessionError: a message within a session, but there is none.
            UnknownPreKeyError: a first message to a prekey that is not here (any more).
        """
        if kind is CiphertextKind.PRE_KEY:
            return self._decrypt_first(address, PreKeySignalMessage.parse(ciphertext))
        record = self._records.get(address)
        if record is None:
            raise NoSessionError(f"no session with {address}")
        return _decrypt_within(record, SignalMessage.parse(ciphertext))

    def _decrypt_first(self, address: Address, message: PreKeySignalMessage) -> bytes:
        """Decrypt a prekey message: the first one builds the session, the next ones find it by its base key."""
        record = self._records.get(address)
        known = record.find(message.base_key) if record else None
        if record is not None and known is not None:
            if known.remote_identity != message.identity:
                raise InvalidMessageError("the identity key is not that of the session")
            plaintext = known.decrypt(message.message)
            record.promote(known)
            return plaintext
        if message.signed_pre_key_id != self.signed_pre_key.id:
            raise UnknownPreKeyError(f"there is no signed prekey {message.signed_pre_key_id}")
        one_time = None if message.pre_key_id is None else self._pre_keys.get(message.pre_key_id)
        if message.pre_key_id is not None and one_time is None:
            raise UnknownPreKeyError(f"one-time prekey {message.pre_key_id} was used or never made")
        session = respond(self.identity, self.signed_pre_key.pair, one_time.pair if one_time else None, message)
        plaintext = session.decrypt(message.message)
        if one_time is not None:
            del self._pre_keys[one_time.id]
        self._adopt(address, session)
        return plaintext

    def _adopt(self, address: Address, session: Session) -> None:
        record = self._records.get(address)
        if record is None:
            self._records[address] = _Record(session)
        else:
            record.promote(session)


def _decrypt_within(record: _Record, message: SignalMessage) -> bytes:
    """Decrypt with whichever session fits, the current one first; that one becomes current."""
    failure: SignalError | None = None
    for session in (record.current, *record.archived):
        try:
            plaintext = session.decrypt(message)
        except DuplicateMessageError:
            raise
        except InvalidMessageError as error:
            failure = failure or error
        else:
            record.promote(session)
            return plaintext
    raise InvalidMessageError("the message fits no session with its sender") from failure
