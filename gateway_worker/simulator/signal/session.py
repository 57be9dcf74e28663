"""One Double Ratchet between two devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway_worker.simulator.signal.chains import ChainKey, MessageKeys, RootKey
from gateway_worker.simulator.signal.errors import DuplicateMessageError, InvalidKeyError, InvalidMessageError
from gateway_worker.simulator.signal.keys import KeyPair
from gateway_worker.simulator.signal.wire import PreKeySignalMessage, SignalMessage

MAX_FORWARD_JUMP = 2000
"""Messages that may be missing before one that arrives; libsignal's bound."""

MAX_SKIPPED_KEYS = 2000
"""Keys kept for messages still missing in one chain; libsignal's bound. The oldest are dropped."""

MAX_RECEIVER_CHAINS = 5
"""Chains of the other side in which late messages are still understood; libsignal's bound."""

_AES_BLOCK_BITS = 128


@dataclass(slots=True)
class _ReceiverChain:
    """A chain of messages from the other side: how far it is read, and what was skipped."""

    key: ChainKey
    skipped: dict[int, bytes] = field(default_factory=dict)
    """Seeds of message keys by counter, in the order of the counters."""


@dataclass(frozen=True, slots=True)
class Initiation:
    """What the first messages of an initiator carry, until the other side has answered.

    Attributes:
        registration_id: The initiator's registration id.
        pre_key_id: Number of the one-time prekey used, if any.
        signed_pre_key_id: Number of the signed prekey used.
        base_key: The initiator's key made for this session, 32 bytes.
    """

    registration_id: int
    pre_key_id: int | None
    signed_pre_key_id: int
    base_key: bytes


class Session:
    """A Double Ratchet, either end.

    Args:
        local_identity: This device's identity key, 32 bytes.
        remote_identity: The other device's identity key, 32 bytes.
        base_key: The initiator's base key, 32 bytes: it names the session at both ends.
        root: The current root key.
        sender_ratchet: This end's current ratchet key pair.
        sender_chain: This end's current sending chain.
        initiation: Set at the initiator's end until the other side answers.
    """

    def __init__(
        self,
        *,
        local_identity: bytes,
        remote_identity: bytes,
        base_key: bytes,
        root: RootKey,
        sender_ratchet: KeyPair,
        sender_chain: ChainKey,
        initiation: Initiation | None = None,
    ) -> None:
        self.local_identity = local_identity
        self.remote_identity = remote_identity
        self.base_key = base_key
        self._root = root
        self._sender_ratchet = sender_ratchet
        self._sender_chain = sender_chain
        self._previous_counter = 0
        self._initiation = initiation
        self._receiver_chains: dict[bytes, _ReceiverChain] = {}

    def add_receiver_chain(self, ratchet_key: bytes, chain: ChainKey) -> None:
        """Open a chain of the other side's messages; the oldest beyond `MAX_RECEIVER_CHAINS` is forgotten."""
        self._receiver_chains[ratchet_key] = _ReceiverChain(chain)
        if len(self._receiver_chains) > MAX_RECEIVER_CHAINS:
            del self._receiver_chains[next(iter(self._receiver_chains))]

    def encrypt(self, plaintext: bytes) -> SignalMessage | PreKeySignalMessage:
        """Encrypt the next message; as a prekey message as long as the other side has not answered."""
        keys = MessageKeys.derive(self._sender_chain.message_seed())
        message = SignalMessage.create(
            ratchet_key=self._sender_ratchet.public,
            counter=self._sender_chain.index,
            previous_counter=self._previous_counter,
            ciphertext=_encrypt(keys, plaintext),
            mac_key=keys.mac_key,
            sender_identity=self.local_identity,
            receiver_identity=self.remote_identity,
        )
        self._sender_chain = self._sender_chain.next()
        if self._initiation is None:
            return message
        return PreKeySignalMessage(
            registration_id=self._initiation.registration_id,
            pre_key_id=self._initiation.pre_key_id,
            signed_pre_key_id=self._initiation.signed_pre_key_id,
            base_key=self._initiation.base_key,
            identity=self.local_identity,
            message=message,
        )

    def decrypt(self, message: SignalMessage) -> bytes:
        """Decrypt a message, in whatever order it comes. The session changes only when this succeeds.

        Raises:
            DuplicateMessageError: it was decrypted before, or its key was dropped as too old.
            InvalidMessageError: it does not belong to this session, was tampered with, or jumps too far ahead.
        """
        known = self._receiver_chains.get(message.ratchet_key)
        if known is None:
            root, chain = self._open_chain(message.ratchet_key)
        elif message.counter < known.key.index:
            return self._decrypt_late(message, known)
        else:
            root, chain = None, known.key
        seeds, chain = _advance(chain, message.counter)
        plaintext = self._open(message, seeds.pop(message.counter))

        if root is not None:
            self._turn(root, message.ratchet_key, chain)
        receiver = self._receiver_chains[message.ratchet_key]
        receiver.key = chain
        receiver.skipped |= seeds
        while len(receiver.skipped) > MAX_SKIPPED_KEYS:
            del receiver.skipped[next(iter(receiver.skipped))]
        self._initiation = None
        return plaintext

    def _open_chain(self, ratchet_key: bytes) -> tuple[RootKey, ChainKey]:
        """Derive the chain that a new ratchet key of the other side opens."""
        try:
            return self._root.ratchet(self._sender_ratchet, ratchet_key)
        except InvalidKeyError as error:
            raise InvalidMessageError("the message's ratchet key is not usable") from error

    def _decrypt_late(self, message: SignalMessage, chain: _ReceiverChain) -> bytes:
        """Decrypt a message that others of its chain overtook."""
        seed = chain.skipped.get(message.counter)
        if seed is None:
            raise DuplicateMessageError(f"message {message.counter} of its chain was decrypted before")
        plaintext = self._open(message, seed)
        del chain.skipped[message.counter]
        self._initiation = None
        return plaintext

    def _open(self, message: SignalMessage, seed: bytes) -> bytes:
        """Authenticate a message, then decrypt it."""
        keys = MessageKeys.derive(seed)
        message.verify(keys.mac_key, sender_identity=self.remote_identity, receiver_identity=self.local_identity)
        return _decrypt(keys, message.ciphertext)

    def _turn(self, root: RootKey, ratchet_key: bytes, chain: ChainKey) -> None:
        """Take the ratchet step that answers a new ratchet key: a fresh key pair and sending chain of this end."""
        self._sender_ratchet = KeyPair.generate()
        self._previous_counter = max(self._sender_chain.index - 1, 0)
        self._root, self._sender_chain = root.ratchet(self._sender_ratchet, ratchet_key)
        self.add_receiver_chain(ratchet_key, chain)


def _advance(chain: ChainKey, counter: int) -> tuple[dict[int, bytes], ChainKey]:
    """Step a chain up to and over a counter; returns the seeds of all messages passed, by counter, and the chain."""
    if counter - chain.index > MAX_FORWARD_JUMP:
        raise InvalidMessageError(f"{counter - chain.index} messages are missing before this one")
    seeds = {}
    while chain.index <= counter:
        seeds[chain.index] = chain.message_seed()
        chain = chain.next()
    return seeds, chain


def _encrypt(keys: MessageKeys, plaintext: bytes) -> bytes:
    padder = padding.PKCS7(_AES_BLOCK_BITS).padder()
    encryptor = Cipher(AES(keys.cipher_key), CBC(keys.iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def _decrypt(keys: MessageKeys, ciphertext: bytes) -> bytes:
    decryptor = Cipher(AES(keys.cipher_key), CBC(keys.iv)).decryptor()
    unpadder = padding.PKCS7(_AES_BLOCK_BITS).unpadder()
    try:
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        # The MAC was right, so the sender itself encrypted badly.
        raise InvalidMessageError("the ciphertext is not whole blocks with PKCS#7 padding") from error
