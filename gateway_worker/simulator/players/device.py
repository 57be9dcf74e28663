"""A device that the simulator plays: an endpoint with Signal keys of its own.

It does what any phone does whatever its owner is like: it publishes prekeys, opens sessions, encrypts for every device
of an account, decrypts, asks for a repetition of what it could not decrypt, and repeats what others could not. What to
make of a message is for its owner, an `Owner`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import DecodeError

from gateway_worker.simulator.binary import Node
from gateway_worker.simulator.endpoints import DeviceAddress
from gateway_worker.simulator.jids import parse_user
from gateway_worker.simulator.players.bundles import keys_nodes, published_keys, signal_bundle
from gateway_worker.simulator.players.content import stanza_types
from gateway_worker.simulator.players.envelope import (
    UntrustedDeviceError,
    enc_node,
    pad,
    read_enc,
    unpad,
    verify_companion,
)
from gateway_worker.simulator.signal import (
    CiphertextKind,
    DuplicateMessageError,
    KeyPair,
    SignalDevice,
    SignalError,
)
from gateway_worker.simulator.signal.wire import PreKeySignalMessage
from gateway_worker.waproto import e2e

if TYPE_CHECKING:
    from gateway_worker.simulator import endpoints
    from gateway_worker.simulator.players.background import Background

logger = logging.getLogger(__name__)

_PRE_KEY_BATCH = 30
_FEW_PRE_KEYS = 10
_MAX_RETRIES = 4
"""Repetitions of one message, asked for or given, before both sides let it be."""

_RETRY_COUNTS = {str(count) for count in range(1, _MAX_RETRIES + 1)}

_MAX_SENT = 256
"""Messages kept for devices that could not decrypt them."""

_MAX_FAILED = 256
"""Messages whose failures are counted."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message stanza that arrived, whether or not it could be decrypted.

    Attributes:
        id: Message id chosen by its sender.
        sender: The sending device.
        node: The stanza.
    """

    id: str
    sender: DeviceAddress
    node: Node


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that was decrypted.

    Attributes:
        arrival: How it came.
        content: What it says, as serialized by its sender.
        message: The same, parsed.
    """

    arrival: Arrival
    content: bytes
    message: e2e.Message


class Owner(Protocol):
    """Whoever a device belongs to. An exception from these methods is logged; the device goes on."""

    async def on_message(self, incoming: Incoming) -> None:
        """A message was decrypted."""
        ...

    async def on_repeated(self, arrival: Arrival) -> None:
        """A copy arrived of a message that was decrypted before."""
        ...

    async def on_undecryptable(self, arrival: Arrival) -> None:
        """A message could not be decrypted; `PlayedDevice.ask_again` asks its sender to repeat it."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message as it was sent, for devices that ask for it again.

    Attributes:
        number: Number of the account that it was sent to.
        content: The serialized message.
        stanza_type: Type of its stanza.
        media_type: Kind of media in it; empty for none.
        category: ``peer`` for messages between an account's own devices, else empty.
    """

    number: str
    content: bytes
    stanza_type: str = "text"
    media_type: str = ""
    category: str = ""


class PlayedDevice:
    """Device 0 of an account, played.

    Stanzas are handled one by one on a task of the device's own, so that whoever delivers never waits for it.

    Args:
        exchange: The server.
        account: The account.
        owner: Who gets what arrives.
    """

    def __init__(self, exchange: endpoints.Exchange, account: endpoints.Account, owner: Owner) -> None:
        self.address = account.address(0)
        self._exchange = exchange
        self._owner = owner
        self._signal: SignalDevice[DeviceAddress] = SignalDevice(KeyPair.from_private(account.identity_private))
        # Unbounded, so that whoever delivers never waits.
        self._arrivals: asyncio.Queue[Node] = asyncio.Queue()
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._proven: dict[DeviceAddress, bytes] = {}
        self._failures: OrderedDict[tuple[DeviceAddress, str], int] = OrderedDict()

    def start(self, background: Background) -> None:
        """Publish keys, begin to take stanzas and to handle them."""
        self._publish_pre_keys()
        background.spawn(self._handle_arrivals(), name=f"played device {self.address.number}")
        self._exchange.attach(self.address, self)

    async def deliver(self, node: Node) -> None:
        """Take a stanza from the server; what a phone would only show on its screen is left out."""
        if node.tag == "message" or _is_retry(node):
            self._arrivals.put_nowait(node)

    async def send(self, to: endpoints.Account, message: e2e.Message, message_id: str) -> None:
        """Encrypt a message for every device of an account and send it.

        Args:
            to: The account.
            message: The message.
            message_id: Its id.
        """
        stanza_type, media_type = stanza_types(message)
        sent = _Sent(to.number, message.SerializeToString(), stanza_type, media_type)
        self._remember(message_id, sent)
        copies = [
            Node("to", {"jid": device.lid_jid}, [enc])
            for device in self._exchange.devices(to.number)
            if (enc := self._encrypt(device, sent)) is not None
        ]
        attrs = {"to": to.address(0).lid_user, "id": message_id, "type": stanza_type}
        await self._exchange.route(self.address, Node("message", attrs, [Node("participants", {}, copies)]))

    async def send_peer(self, to: DeviceAddress, message: e2e.Message, message_id: str) -> None:
        """Send a message about the account itself to one of its companions."""
        sent = _Sent(to.number, message.SerializeToString(), category="peer")
        self._remember(message_id, sent)
        await self._send_copy(to, message_id, sent)

    async def send_receipt(self, arrival: Arrival, kind: str = "") -> None:
        """Send a receipt for a message.

        Args:
            arrival: The message.
            kind: Type of the receipt; empty for delivered.
        """
        await self._exchange.route(self.address, Node("receipt", _receipt_attrs(arrival, kind)))

    async def send_chat_state(self, to: endpoints.Account, state: str) -> None:
        """Show ``composing`` or ``paused`` to an account."""
        await self._exchange.route(self.address, Node("chatstate", {"to": to.address(0).lid_user}, [Node(state)]))

    async def ask_again(self, arrival: Arrival) -> None:
        """Ask the sender of an undecryptable message to encrypt it anew, for keys that come along."""
        key = arrival.sender, arrival.id
        count = self._failures[key] = self._failures.pop(key, 0) + 1
        _trim(self._failures, _MAX_FAILED)
        if count > _MAX_RETRIES:
            logger.warning("%s gives up on message %s", self.address.number, arrival.id)
            return
        retry = {"count": str(count), "id": arrival.id, "t": arrival.node.attrs.get("t", "0"), "v": "1"}
        (pre_key,) = self._signal.generate_pre_keys(1)
        content = [Node("retry", retry), *keys_nodes(self._signal, pre_key)]
        await self._exchange.route(self.address, Node("receipt", _receipt_attrs(arrival, "retry"), content))

    async def _handle_arrivals(self) -> None:
        while True:
            node = await self._arrivals.get()
            try:
                await self._handle(node)
            except Exception:
                # Whatever a stanza leads to, the next one is handled.
                logger.exception("%s could not handle a <%s>", self.address.number, node.tag)

    async def _handle(self, node: Node) -> None:
        if node.tag == "message":
            await self._handle_message(node)
        else:
            await self._repeat(node)

    async def _handle_message(self, node: Node) -> None:
        sender = self._device(node.attrs.get("from", ""))
        enc = node.child("enc")
        if sender is None or enc is None:
            logger.warning("%s got a message without a known sender or content", self.address.number)
            return
        arrival = Arrival(node.attrs.get("id", ""), sender, node)
        try:
            content = self._decrypt(arrival, enc)
            message = e2e.Message.FromString(content)
        except DuplicateMessageError:
            await self._owner.on_repeated(arrival)
        except UntrustedDeviceError as error:
            logger.warning("%s ignores message %s: %s", self.address.number, arrival.id, error)
        except SignalError as error:
            logger.warning("%s cannot decrypt message %s: %s", self.address.number, arrival.id, error)
            await self._owner.on_undecryptable(arrival)
        except DecodeError:
            logger.warning("%s got message %s, which is not a message when decrypted", self.address.number, arrival.id)
        else:
            self._failures.pop((sender, arrival.id), None)
            await self._owner.on_message(Incoming(arrival, content, message))

    def _decrypt(self, arrival: Arrival, enc: Node) -> bytes:
        """Decrypt the copy of a message that is for this device."""
        kind, ciphertext = read_enc(enc)
        if kind is CiphertextKind.PRE_KEY and arrival.sender.device:
            self._check_companion(arrival, PreKeySignalMessage.parse(ciphertext).identity)
        before = self._signal.unused_pre_keys
        content = unpad(self._signal.decrypt(arrival.sender, kind, ciphertext))
        used_pre_key = self._signal.unused_pre_keys < before
        if used_pre_key and self._exchange.prekey_count(self.address) < _FEW_PRE_KEYS:
            self._publish_pre_keys()
        return content

    def _check_companion(self, arrival: Arrival, companion_key: bytes) -> None:
        """Check that the sender's account linked the companion that sends.

        Every message carries the proof until the companion is answered; it is checked once.
        """
        if self._proven.get(arrival.sender) == companion_key:
            return
        account = self._exchange.account(arrival.sender.number)
        device_identity = arrival.node.child("device-identity")
        if account is None or device_identity is None:
            raise UntrustedDeviceError("a companion's first message must carry its device identity")
        verify_companion(device_identity.data, account_key=account.identity_public, companion_key=companion_key)
        self._proven[arrival.sender] = companion_key

    def _encrypt(self, device: DeviceAddress, sent: _Sent, *, retry: int = 0) -> Node | None:
        """Encrypt for one device; None when it has no keys, or unusable ones, to open a session with."""
        if not self._signal.has_session(device) and not self._open_session(device):
            return None
        kind, ciphertext = self._signal.encrypt(device, pad(sent.content))
        return enc_node(kind, ciphertext, media_type=sent.media_type, retry=retry)

    def _open_session(self, device: DeviceAddress) -> bool:
        """Begin a session by the keys that a device has published; tells whether that worked."""
        bundle = self._exchange.take_bundle(device)
        if bundle is None:
            return False
        try:
            self._signal.start_session(device, signal_bundle(bundle))
        except SignalError as error:
            logger.warning("%s cannot open a session with %s: %s", self.address.number, device.pn_jid, error)
            return False
        return True

    async def _send_copy(self, to: DeviceAddress, message_id: str, sent: _Sent, *, retry: int = 0) -> None:
        """Send a message to one device alone."""
        enc = self._encrypt(to, sent, retry=retry)
        if enc is None:
            return
        attrs = {"to": to.pn_jid if sent.category else to.lid_jid, "id": message_id, "type": sent.stanza_type}
        if sent.category:
            attrs["category"] = sent.category
        await self._exchange.route(self.address, Node("message", attrs, [enc]))

    async def _repeat(self, receipt: Node) -> None:
        """Encrypt a message anew, in a new session, for a device that could not decrypt it."""
        message_id = receipt.attrs.get("id", "")
        device, sent = self._device(receipt.attrs.get("from", "")), self._sent.get(message_id)
        retry = receipt.child("retry")
        count = retry.attrs.get("count", "") if retry is not None else ""
        was_recipient = device is not None and sent is not None and device.number == sent.number
        if device is None or sent is None or not was_recipient or count not in _RETRY_COUNTS:
            logger.warning("%s does not repeat message %s", self.address.number, message_id)
        elif self._open_session(device):
            await self._send_copy(device, message_id, sent, retry=int(count))

    def _device(self, jid: str) -> DeviceAddress | None:
        """Read the JID of a device; None when there is no such account."""
        user = parse_user(jid)
        account = self._exchange.account(jid)
        return None if user is None or account is None else account.address(user.device)

    def _remember(self, message_id: str, sent: _Sent) -> None:
        self._sent.pop(message_id, None)
        self._sent[message_id] = sent
        _trim(self._sent, _MAX_SENT)

    def _publish_pre_keys(self) -> None:
        keys = published_keys(self._signal, self._signal.generate_pre_keys(_PRE_KEY_BATCH))
        self._exchange.publish_bundle(self.address, keys)


def _is_retry(node: Node) -> bool:
    """Tell whether somebody asks for a message again."""
    return node.tag == "receipt" and node.attrs.get("type") == "retry"


def _receipt_attrs(arrival: Arrival, kind: str) -> dict[str, str]:
    """Attributes of a receipt for a message: it goes where the message came from, in the form it came in."""
    came = arrival.node.attrs
    attrs = {"id": arrival.id, "to": came.get("from", "")}
    attrs |= {name: came[name] for name in ("recipient", "participant") if name in came}
    if kind:
        attrs["type"] = kind
    return attrs


def _trim(entries: OrderedDict[Any, Any], bound: int) -> None:
    """Drop the oldest entries beyond a bound."""
    while len(entries) > bound:
        entries.popitem(last=False)
