"""One client's connection: handshake, then pairing or login, then stanzas until its end."""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import TYPE_CHECKING, Final, Protocol

from gateway_worker.simulator.binary import CodecError, DecodeError, Node, decode, encode
from gateway_worker.simulator.errors import BadClientError, InvalidError
from gateway_worker.simulator.frames import Deframer, frame
from gateway_worker.simulator.noise import Established, Responder, ServerIdentity, Transport
from gateway_worker.simulator.web import WebSocket

if TYPE_CHECKING:
    from gateway_worker.simulator.pairing import Offer
    from gateway_worker.simulator.registry import Device

HANDSHAKE_TIMEOUT: Final = 20.0
"""Seconds after which a connection must have said who it is."""

# Clients drop what they have not handled when the connection closes, so a last stanza needs a moment before it.
_LINGER: Final = 0.25  # seconds
_logger = logging.getLogger(__name__)


class Host(Protocol):
    """The server, as a connection sees it."""

    async def established(self, connection: ClientConnection, client: Established) -> None:
        """Let a client in that has finished its handshake: offer it codes, log it in, or refuse it."""
        ...

    async def stanza(self, connection: ClientConnection, node: Node) -> None:
        """Take a stanza."""
        ...

    async def closed(self, connection: ClientConnection) -> None:
        """Clean up after a connection."""
        ...


class _Stage(enum.Enum):
    HELLO = enum.auto()
    FINISH = enum.auto()
    STANZAS = enum.auto()
    ENDED = enum.auto()


class ClientConnection:
    """A client's connection; the endpoint of the device that it has logged in as.

    Args:
        socket: The WebSocket.
        identity: What the server authenticates itself with.
        host: The server.
    """

    def __init__(self, socket: WebSocket, identity: ServerIdentity, host: Host) -> None:
        self._socket = socket
        self._host = host
        self._responder = Responder(identity)
        self._transport: Transport | None = None
        self._stage = _Stage.HELLO
        self._deframer = Deframer()
        self.device: Device | None = None
        self.offer: Offer | None = None
        self.last_heard = asyncio.get_running_loop().time()

    def __repr__(self) -> str:
        who = self.device.address.pn_jid if self.device is not None else "a client that has not logged in"
        return f"<connection of {who}>"

    async def run(self) -> None:
        """Serve the connection until its end.

        Raises:
            BadClientError: The client sent what no client sends.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(HANDSHAKE_TIMEOUT, self._give_up)
        try:
            while data := await self._socket.receive():
                self.last_heard = loop.time()
                for payload in self._deframer.feed(data):
                    await self._take(payload)
        except BadClientError as error:
            raise BadClientError(f"{self!r}: {error}") from error
        finally:
            timer.cancel()
            self._stage = _Stage.ENDED
            await self._host.closed(self)
            self._socket.close()

    def _give_up(self) -> None:
        if self._transport is None:
            _logger.warning("a connection did not finish its handshake within %g s", HANDSHAKE_TIMEOUT)
            self.abort()

    async def _take(self, payload: bytes) -> None:
        if self._stage is _Stage.STANZAS and self._transport is not None:
            try:
                node = decode(self._transport.decrypt(payload))
            except DecodeError as error:
                raise BadClientError(f"a stanza that cannot be decoded: {error}") from error
            try:
                await self._host.stanza(self, node)
            except InvalidError as error:
                raise BadClientError(f"<{node.tag}>: {error}") from error
        elif self._stage is _Stage.HELLO:
            self._socket.send(frame(self._responder.hello(payload)))
            self._stage = _Stage.FINISH
        elif self._stage is _Stage.FINISH:
            client = self._responder.finish(payload)
            self._transport = client.transport
            self._stage = _Stage.STANZAS
            await self._host.established(self, client)

    async def deliver(self, node: Node) -> None:
        """Send a stanza to the client; part of the Endpoint protocol."""
        self.send(node)

    def send(self, node: Node) -> None:
        """Send a stanza; what the connection cannot take ends it, quietly for the caller."""
        if self._transport is None or self._stage is _Stage.ENDED:
            return
        try:
            self._socket.send(frame(self._transport.encrypt(encode(node))))
        except (CodecError, BadClientError) as error:
            _logger.warning("%r was ended, <%s> could not be sent: %s", self, node.tag, error)
            self.abort()

    def end(self, error: Node | None = None, linger: float = _LINGER) -> None:
        """Send a last stanza, if any, and close after a while; stanzas that come meanwhile are not looked at.

        Args:
            error: The last stanza.
            linger: Seconds until the close.
        """
        if error is not None:
            self.send(error)
        self._stage = _Stage.ENDED
        asyncio.get_running_loop().call_later(linger, self._socket.close)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._stage = _Stage.ENDED
        self._socket.abort()
