"""A WhatsApp client in a few lines, for tests of the simulator that need to do what no real client does.

It comes through the proxy like a real one and has the client's side of the handshake and of pairing; beyond that it
sends and receives stanzas as the test tells it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import ssl
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway_worker.simulator.binary import Node, decode, encode
from gateway_worker.simulator.signal.keys import KeyPair, verify_signature
from gateway_worker.waproto import adv, cert, wa6
from tests.support.bare_client import read_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

PROLOGUE: Final = b"WA\x06\x03"
_PATIENCE: Final = 5.0  # seconds


class Closed(Exception):  # noqa: N818  # the end of a connection is no error
    """The server has closed the connection."""


@dataclass
class ClientKeys:
    """What a client keeps: its keys, and its address once it is linked."""

    noise: KeyPair = field(default_factory=KeyPair.generate)
    identity: KeyPair = field(default_factory=KeyPair.generate)
    signed_prekey: KeyPair = field(default_factory=KeyPair.generate)
    secret: bytes = field(default_factory=lambda: hashlib.sha256(KeyPair.generate().public).digest())
    registration_id: int = 4711
    user: str = ""
    device: int = 0

    def payload(self) -> wa6.ClientPayload:
        """Say who one is: a new device, or the one that was linked."""
        if self.user:
            return wa6.ClientPayload(username=int(self.user), device=self.device, passive=True)
        return wa6.ClientPayload(
            devicePairingData=wa6.ClientPayload.DevicePairingRegistrationData(
                eRegid=self.registration_id.to_bytes(4, "big"),
                eKeytype=b"\x05",
                eIdent=self.identity.public,
                eSkeyID=(1).to_bytes(3, "big"),
                eSkeyVal=self.signed_prekey.public,
                eSkeySig=self.identity.sign(b"\x05" + self.signed_prekey.public),
            )
        )

    def code(self, ref: bytes) -> str:
        """Make the text of a QR code."""
        keys = (base64.b64encode(key).decode() for key in (self.noise.public, self.identity.public, self.secret))
        return f"https://wa.me/settings/linked_devices#{ref.decode()},{','.join(keys)},1"

    def key_nodes(self, count: int, first: int = 1) -> list[Node]:
        """Make the children of the query that publishes one-time prekeys."""
        keys = [
            Node("key", {}, [Node("id", {}, number.to_bytes(3, "big")), Node("value", {}, KeyPair.generate().public)])
            for number in range(first, first + count)
        ]
        signature = self.identity.sign(b"\x05" + self.signed_prekey.public)
        signed = [
            Node("id", {}, b"\x00\x00\x01"),
            Node("value", {}, self.signed_prekey.public),
            Node("signature", {}, signature),
        ]
        return [
            Node("registration", {}, self.registration_id.to_bytes(4, "big")),
            Node("type", {}, b"\x05"),
            Node("identity", {}, self.identity.public),
            Node("list", {}, keys),
            Node("skey", {}, signed),
        ]


class Initiator:
    """The client's side of the Noise handshake."""

    def __init__(self, root: bytes, keys: ClientKeys) -> None:
        self._root = root
        self._keys = keys
        self._ephemeral = KeyPair.generate()
        self._hash = self._salt = b"Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"
        self._cipher = AESGCM(self._salt)
        self._counter = 0
        self._authenticate(PROLOGUE)

    def hello(self) -> bytes:
        """Make the first message."""
        self._authenticate(self._ephemeral.public)
        hello = wa6.HandshakeMessage.ClientHello(ephemeral=self._ephemeral.public)
        return wa6.HandshakeMessage(clientHello=hello).SerializeToString()

    def finish(self, answer: bytes) -> bytes:
        """Check the server's message and make the last one."""
        hello = wa6.HandshakeMessage.FromString(answer).serverHello
        self._authenticate(hello.ephemeral)
        self._mix(self._ephemeral, hello.ephemeral)
        static = self._open(hello.static)
        self._mix(self._ephemeral, static)
        self._check_chain(self._open(hello.payload), static)
        own_static = self._seal(self._keys.noise.public)
        self._mix(self._keys.noise, hello.ephemeral)
        payload = self._seal(self._keys.payload().SerializeToString())
        finish = wa6.HandshakeMessage.ClientFinish(static=own_static, payload=payload)
        return wa6.HandshakeMessage(clientFinish=finish).SerializeToString()

    def ciphers(self) -> tuple[AESGCM, AESGCM]:
        """Return the ciphers for sending and receiving."""
        send, receive = self._derive(b"")
        return AESGCM(send), AESGCM(receive)

    def _check_chain(self, raw: bytes, static: bytes) -> None:
        chain = cert.CertChain.FromString(raw)
        intermediate = cert.CertChain.NoiseCertificate.Details.FromString(chain.intermediate.details)
        leaf = cert.CertChain.NoiseCertificate.Details.FromString(chain.leaf.details)
        verify_signature(self._root, chain.intermediate.details, chain.intermediate.signature)
        verify_signature(intermediate.key, chain.leaf.details, chain.leaf.signature)
        assert (intermediate.issuerSerial, leaf.issuerSerial, leaf.key) == (0, intermediate.serial, static)

    def _derive(self, secret: bytes) -> tuple[bytes, bytes]:
        key = hmac.digest(self._salt, secret, "sha256")
        first = hmac.digest(key, b"\x01", "sha256")
        return first, hmac.digest(key, first + b"\x02", "sha256")

    def _authenticate(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def _mix(self, own: KeyPair, other: bytes) -> None:
        self._salt, key = self._derive(own.agree(other))
        self._cipher = AESGCM(key)
        self._counter = 0

    def _nonce(self) -> bytes:
        self._counter += 1
        return struct.pack(">8xI", self._counter - 1)

    def _seal(self, data: bytes) -> bytes:
        sealed = self._cipher.encrypt(self._nonce(), data, self._hash)
        self._authenticate(sealed)
        return sealed

    def _open(self, sealed: bytes) -> bytes:
        data = self._cipher.decrypt(self._nonce(), sealed, self._hash)
        self._authenticate(sealed)
        return data


class WaClient:
    """A connection that has finished its handshake."""

    def __init__(self, socket: ClientConnection, initiator: Initiator, keys: ClientKeys) -> None:
        self.keys = keys
        self.socket = socket
        self._send_cipher, self._receive_cipher = initiator.ciphers()
        self._sent = itertools.count()
        self._received = itertools.count()
        self._ids = itertools.count(1)
        self._buffer = b""
        self._waiting: list[Node] = []

    async def send_frame(self, data: bytes) -> None:
        """Send the bytes of a frame as they are."""
        await self.socket.send(len(data).to_bytes(3, "big") + data)

    async def send_payload(self, payload: bytes) -> None:
        """Encrypt and send a payload."""
        await self.send_frame(self._send_cipher.encrypt(struct.pack(">8xI", next(self._sent)), payload, None))

    async def send(self, node: Node) -> None:
        """Send a stanza."""
        await self.send_payload(encode(node))

    async def receive(self, matching: Callable[[Node], bool] = lambda _: True) -> Node:
        """Wait for the next stanza that matches; others stay for later.

        Raises:
            Closed: The server has closed the connection.
            TimeoutError: It did not come; the text says what did.
        """
        for index, node in enumerate(self._waiting):
            if matching(node):
                return self._waiting.pop(index)
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    node = await self._next()
                    if matching(node):
                        return node
                    self._waiting.append(node)
        except TimeoutError:
            raise TimeoutError(f"the stanza did not come, but {self._waiting}") from None

    async def receive_tag(self, tag: str) -> Node:
        """Wait for the next stanza of a tag."""
        return await self.receive(lambda node: node.tag == tag)

    async def _next(self) -> Node:
        while len(self._buffer) < 3 or len(self._buffer) < 3 + int.from_bytes(self._buffer[:3], "big"):
            try:
                data = await self.socket.recv()
            except ConnectionClosed:
                raise Closed from None
            assert isinstance(data, bytes)
            self._buffer += data
        end = 3 + int.from_bytes(self._buffer[:3], "big")
        frame, self._buffer = self._buffer[3:end], self._buffer[end:]
        return decode(self._receive_cipher.decrypt(struct.pack(">8xI", next(self._received)), frame, None))

    async def iq(self, namespace: str, kind: str, *content: Node, **attrs: str) -> Node:
        """Ask a query and wait for its result or error."""
        stanza_id = f"q{next(self._ids)}"
        await self.send(Node("iq", {"xmlns": namespace, "type": kind, "id": stanza_id} | attrs, list(content)))
        return await self.receive(lambda node: node.tag == "iq" and node.attrs.get("id") == stanza_id)

    async def wake(self) -> None:
        """Ask for one's stanzas, as a client does after its login."""
        await self.iq("passive", "set", Node("active"))
        await self.receive(lambda node: node.tag == "ib" and node.child("offline") is not None)

    async def code(self) -> str:
        """Wait for refs and make the first code."""
        offer = await self.receive(lambda node: node.child("pair-device") is not None)
        await self.send(Node("iq", {"type": "result", "id": offer.attrs["id"]}))
        pair_device = offer.child("pair-device")
        assert pair_device is not None
        return self.keys.code(pair_device.children("ref")[0].data)

    async def confirm(self) -> None:
        """Wait until a phone has scanned the code, check what it says, and confirm."""
        success = await self.receive(lambda node: node.child("pair-success") is not None)
        pair_success = success.child("pair-success")
        assert pair_success is not None
        identity, device = pair_success.child("device-identity"), pair_success.child("device")
        assert identity is not None
        assert device is not None
        sealed = adv.ADVSignedDeviceIdentityHMAC.FromString(identity.data)
        assert hmac.digest(self.keys.secret, sealed.details, "sha256") == sealed.HMAC
        signed = adv.ADVSignedDeviceIdentity.FromString(sealed.details)
        own = self.keys.identity
        verify_signature(signed.accountSignatureKey, b"\x06\x00" + signed.details + own.public, signed.accountSignature)
        message = b"\x06\x01" + signed.details + own.public + signed.accountSignatureKey
        answer = adv.ADVSignedDeviceIdentity(details=signed.details, deviceSignature=own.sign(message))
        content = Node("pair-device-sign", {}, [Node("device-identity", {}, answer.SerializeToString())])
        self.keys.user, _, number = device.attrs["jid"].partition("@")[0].partition(":")
        self.keys.device = int(number)
        await self.send(Node("iq", {"type": "result", "id": success.attrs["id"]}, [content]))

    async def closed(self) -> None:
        """Wait until the server has closed the connection.

        Raises:
            TimeoutError: It did not.
        """
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    self._waiting.append(await self._next())
                except Closed:
                    return


@asynccontextmanager
async def open_socket(file: Path) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket by way of the proxy in an address file."""
    address = read_address(file)
    context = ssl.create_default_context(cafile=address["ca"])
    async with connect(
        "wss://web.whatsapp.com/ws/chat", ssl=context, proxy=address["proxy"], compression=None, max_size=None,
        ping_interval=None,
    ) as socket:  # fmt: skip
        yield socket


@asynccontextmanager
async def open_client(file: Path, keys: ClientKeys) -> AsyncIterator[WaClient]:
    """Open a connection and do the handshake: as a new device, or as the one that ``keys`` have become."""
    root = bytes.fromhex(read_address(file)["root"])
    async with open_socket(file) as socket:
        initiator = Initiator(root, keys)
        hello = initiator.hello()
        await socket.send(PROLOGUE + len(hello).to_bytes(3, "big") + hello)
        answer = await socket.recv()
        assert isinstance(answer, bytes)
        finish = initiator.finish(answer[3:])
        await socket.send(len(finish).to_bytes(3, "big") + finish)
        yield WaClient(socket, initiator, keys)
