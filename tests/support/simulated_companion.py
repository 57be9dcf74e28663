"""A companion device without a client: it speaks to the simulator's server in its process, with Signal keys of its own.

For tests that need to see every stanza, or to send what no client sends.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.players.bundles import published_keys, signal_bundle
from gateway_worker.simulator.players.envelope import enc_node, pad, read_enc, unpad
from gateway_worker.simulator.signal import CiphertextKind, KeyPair, SignalDevice
from gateway_worker.waproto import adv, e2e

if TYPE_CHECKING:
    from gateway_worker.simulator.endpoints import Account, DeviceAddress
    from gateway_worker.simulator.server import Server

_TIMEOUT = 10.0
_REACTION = 0.1
_NUMBERS = itertools.count(1)


class SimulatedCompanion:
    """A linked device of a phone.

    Args:
        server: The simulator's server.
        phone: The phone's account.

    Attributes:
        address: Its address.
        signal: Its keys and sessions.
        proof: The ``<device-identity>`` that goes along with first messages.
    """

    def __init__(self, server: Server, phone: Account) -> None:
        record = server.registry.find(phone.number)
        assert record is not None
        self._server = server
        self._device = record.add_companion(noise_static=next(_NUMBERS).to_bytes(32, "big"))
        self._stanzas: asyncio.Queue[Node] = asyncio.Queue()
        self.phone = phone
        self.address = self._device.address
        self.signal: SignalDevice[DeviceAddress] = SignalDevice()
        self.proof = self._link()
        server.publish_bundle(self.address, published_keys(self.signal, self.signal.generate_pre_keys(5)))

    def _link(self) -> Node:
        """Have the phone's key sign this device's, as scanning a code does."""
        details = adv.ADVDeviceIdentity(rawID=1, keyIndex=1, timestamp=1).SerializeToString()
        own, account = self.signal.identity, KeyPair.from_private(self.phone.identity_private)
        identity = adv.ADVSignedDeviceIdentity(
            details=details,
            accountSignatureKey=account.public,
            accountSignature=account.sign(b"\x06\x00" + details + own.public),
            deviceSignature=own.sign(b"\x06\x01" + details + own.public + account.public),
        )
        return Node("device-identity", {}, identity.SerializeToString())

    async def log_in(self) -> None:
        """Connect: what waits is delivered, and the first time the phone is told."""
        self._device.endpoint = self
        await self._server.wake(self._device)

    async def deliver(self, node: Node) -> None:
        """Take a stanza from the server."""
        self._stanzas.put_nowait(node)

    async def next(self, tag: str, kind: str | None = None) -> Node:
        """Wait for the next stanza with this tag, and of this type if one is given; others are passed over.

        Raises:
            TimeoutError: There is none within ten seconds.
        """
        async with asyncio.timeout(_TIMEOUT):
            while True:
                node = await self._stanzas.get()
                if node.tag == tag and kind in {None, node.attrs.get("type", "")}:
                    return node

    async def quiet(self) -> bool:
        """Say whether nothing more comes after everybody had time to react, but for what the own phone confirms."""
        await asyncio.sleep(_REACTION)
        left = []
        while not self._stanzas.empty():
            left.append(self._stanzas.get_nowait())
        return all(node.tag == "receipt" and node.attrs.get("type") == "sender" for node in left)

    async def next_message(self) -> tuple[Node, e2e.Message]:
        """Wait for the next message and decrypt it."""
        node = await self.next("message")
        return node, self.decrypt(node)

    def decrypt(self, node: Node) -> e2e.Message:
        """Decrypt a message."""
        enc = node.child("enc")
        account = self._server.account(node.attrs["from"])
        assert enc is not None
        assert account is not None
        return e2e.Message.FromString(unpad(self.signal.decrypt(account.address(0), *read_enc(enc))))

    def encrypt(self, to: DeviceAddress, message: e2e.Message) -> Node:
        """Encrypt a message for a device."""
        if not self.signal.has_session(to):
            bundle = self._server.take_bundle(to)
            assert bundle is not None
            self.signal.start_session(to, signal_bundle(bundle))
        return enc_node(*self.signal.encrypt(to, pad(message.SerializeToString())))

    async def send(self, to: Account, message: e2e.Message, message_id: str) -> Node:
        """Send a message to an account's phone, and a copy to the own phone; returns what the former was sent."""
        copy = e2e.Message(
            deviceSentMessage=e2e.DeviceSentMessage(destinationJID=to.address(0).lid_user, message=message)
        )
        enc = self.encrypt(to.address(0), message)
        own = self.encrypt(self.phone.address(0), copy)
        participants = [
            Node("to", {"jid": to.address(0).lid_jid}, [enc]),
            Node("to", {"jid": self.phone.address(0).lid_jid}, [own]),
        ]
        attrs = {"to": to.address(0).lid_user, "id": message_id, "type": "text"}
        await self.route(Node("message", attrs, [Node("participants", {}, participants), self.proof]))
        return enc

    async def send_enc(self, to: Account, enc: Node, message_id: str, *, proof: Node | None = None) -> None:
        """Send something encrypted, or what poses as such, to an account's phone alone."""
        attrs = {"to": to.address(0).lid_jid, "id": message_id, "type": "text"}
        await self.route(Node("message", attrs, [enc, *([proof] if proof else [])]))

    async def route(self, node: Node) -> None:
        """Send any stanza."""
        await self._server.route(self.address, node)


def is_first(enc: Node) -> bool:
    """Tell whether an ``<enc>`` begins a session."""
    return read_enc(enc)[0] is CiphertextKind.PRE_KEY
