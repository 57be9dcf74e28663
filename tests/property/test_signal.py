"""Two devices over a network that loses, reorders, repeats and alters: the promises of the Double Ratchet."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway_worker.simulator.signal import CiphertextKind, PreKeyBundle, SignalDevice, SignalError
from gateway_worker.simulator.signal.session import MAX_RECEIVER_CHAINS, Session
from gateway_worker.simulator.signal.wire import PreKeySignalMessage, SignalMessage

_PEER = "peer"
_MAX_SESSIONS = 30
"""Sessions begun in one run; fewer than a device archives, so that none is forgotten."""


@dataclass
class Sent:
    """A message on the network, and what became of it."""

    receiver: int
    kind: CiphertextKind
    ciphertext: bytes
    plaintext: bytes
    session: bytes
    received: bool = False

    @property
    def ratchet_key(self) -> bytes:
        """The chain it belongs to."""
        if self.kind is CiphertextKind.PRE_KEY:
            return PreKeySignalMessage.parse(self.ciphertext).message.ratchet_key
        return SignalMessage.parse(self.ciphertext).ratchet_key


class Conversation(RuleBasedStateMachine):
    """Any interleaving of what two devices and a bad network can do."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[SignalDevice[str]] = [SignalDevice(), SignalDevice()]
        self.network: list[Sent] = []
        self.sessions = 0
        self.chains: dict[tuple[int, bytes], list[bytes]] = {}
        """Ratchet keys seen by a receiver in a session, oldest first."""

    @initialize(side=st.integers(0, 1), one_time=st.booleans())
    def begin(self, side: int, *, one_time: bool) -> None:
        """One of them begins."""
        self.restart(side, one_time=one_time)

    @precondition(lambda self: self.sessions < _MAX_SESSIONS)
    @rule(side=st.integers(0, 1), one_time=st.booleans())
    def restart(self, side: int, *, one_time: bool) -> None:
        """A device begins a new session by the other's bundle, for example because it lost the old one."""
        other = self.devices[1 - side]
        pre_key = other.generate_pre_keys(1)[0] if one_time else None
        self.devices[side].start_session(
            _PEER,
            PreKeyBundle(
                registration_id=other.registration_id,
                identity=other.identity.public,
                signed_pre_key_id=other.signed_pre_key.id,
                signed_pre_key=other.signed_pre_key.pair.public,
                signature=other.signed_pre_key.signature,
                pre_key_id=pre_key.id if pre_key else None,
                pre_key=pre_key.pair.public if pre_key else None,
            ),
        )
        self.sessions += 1

    @rule(side=st.integers(0, 1), plaintext=st.binary(max_size=40))
    def send(self, side: int, plaintext: bytes) -> None:
        """A device that has a session encrypts a message."""
        device = self.devices[side]
        if not device.has_session(_PEER):
            return
        kind, ciphertext = device.encrypt(_PEER, plaintext)
        base_key = device._records[_PEER].current.base_key
        self.network.append(Sent(1 - side, kind, ciphertext, plaintext, base_key))

    @precondition(lambda self: self.network)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Any message ever sent arrives, for the first time or again: it decrypts exactly once."""
        sent = data.draw(st.sampled_from(self.network))
        if sent.received or not self._understood(sent):
            with pytest.raises(SignalError):
                self._decrypt(sent, sent.ciphertext)
            return
        assert self._decrypt(sent, sent.ciphertext) == sent.plaintext
        self._note(sent)

    @precondition(lambda self: self.network)
    @rule(data=st.data(), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def tamper(self, data: st.DataObject, position: float, bit: int) -> None:
        """An altered message is refused; where the protocol authenticates nothing, it still says what was said.

        The latter are the prekey ids and registration id around a first message, which change no meaning.
        """
        sent = data.draw(st.sampled_from(self.network))
        altered = bytearray(sent.ciphertext)
        altered[int(position * len(altered))] ^= 1 << bit
        try:
            plaintext = self._decrypt(sent, bytes(altered))
        except SignalError:
            return
        assert sent.kind is CiphertextKind.PRE_KEY
        assert not sent.received
        assert plaintext == sent.plaintext
        self._note(sent)

    def _decrypt(self, sent: Sent, ciphertext: bytes) -> bytes:
        return self.devices[sent.receiver].decrypt(_PEER, sent.kind, ciphertext)

    def _understood(self, sent: Sent) -> bool:
        """Whether the receiver still can know the keys: it knows the session, and the chain is not too old."""
        seen = self.chains.get((sent.receiver, sent.session))
        if seen is None:
            own = {session.base_key for session in self._sessions_of(sent.receiver)}
            return sent.kind is CiphertextKind.PRE_KEY or sent.session in own
        return sent.ratchet_key not in seen or sent.ratchet_key in seen[-MAX_RECEIVER_CHAINS:]

    def _sessions_of(self, side: int) -> list[Session]:
        record = self.devices[side]._records.get(_PEER)
        return [record.current, *record.archived] if record else []

    def _note(self, sent: Sent) -> None:
        sent.received = True
        seen = self.chains.setdefault((sent.receiver, sent.session), [])
        if sent.ratchet_key not in seen:
            seen.append(sent.ratchet_key)


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestConversation = Conversation.TestCase
