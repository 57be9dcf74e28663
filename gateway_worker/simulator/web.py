"""What speaks on a TLS connection to the simulator: the chat's WebSocket, or plain HTTP for media.

Both come to the same port, as they do with WhatsApp's hosts behind one tunnel. The head of the first request decides;
the two protocols themselves are sans-I/O libraries (websockets, h11) driven over one asyncio stream.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import h11
from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway_worker.simulator.errors import BadClientError
from gateway_worker.simulator.frames import MAX_FRAME
from gateway_worker.simulator.media import MAX_BLOB, MediaStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MAX_HEAD: Final = 16 << 10
"""Bytes that a request's line and headers may have."""

_CHUNK: Final = 1 << 16
_FIRST_REQUEST: Final = 15.0  # seconds
_MAX_UNSENT: Final = 32 << 20  # bytes; a client that reads so little is as good as gone
_logger = logging.getLogger(__name__)


class WebError(BadClientError):
    """The peer's bytes are not HTTP or WebSocket as this server takes it."""


class WebSocket:
    """The server's end of one WebSocket, as a byte stream in both directions.

    Args:
        reader: The stream that the handshake came from.
        writer: The stream's other half.
        protocol: The protocol, its handshake done.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ServerProtocol) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._flush_due = False

    @classmethod
    async def accept(cls, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WebSocket:
        """Do the handshake that ``head`` asks for.

        Raises:
            WebError: It is no handshake; the peer has been told so.
        """
        # Message sizes are the frame layer's business; a WebSocket message may hold a frame and its length.
        protocol = ServerProtocol(max_size=MAX_FRAME + _CHUNK, logger=_logger.getChild("websocket"))
        protocol.receive_data(head)
        request = next((event for event in protocol.events_received() if isinstance(event, Request)), None)
        if request is None:
            raise WebError(f"the request is no WebSocket handshake: {protocol.handshake_exc}")
        protocol.send_response(protocol.accept(request))
        socket = cls(reader, writer, protocol)
        socket._flush()
        await writer.drain()
        if protocol.state is not State.OPEN:
            raise WebError(f"the handshake was refused: {protocol.handshake_exc}")
        return socket

    async def receive(self) -> bytes:
        """Wait for the next bytes of the stream; empty at its end.

        Raises:
            WebError: The peer breaks the WebSocket protocol, or sends text.
        """
        protocol = self._protocol
        while True:
            data = await self._read()
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            received = [self._payload(event) for event in protocol.events_received()]
            self._flush()
            if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
                raise WebError(f"the peer breaks the WebSocket protocol: {protocol.parser_exc}")
            stream = b"".join(received)
            if stream:
                return stream
            if not data or protocol.state is not State.OPEN:
                return b""

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except (ConnectionError, TimeoutError, OSError) as error:
            _logger.debug("a connection was cut: %s", error)
            return b""

    @staticmethod
    def _payload(event: object) -> bytes:
        if not isinstance(event, Frame):
            raise WebError("the peer sends another HTTP request in a WebSocket")
        if event.opcode is Opcode.TEXT:
            raise WebError("the peer sends text")
        return bytes(event.data) if event.opcode in (Opcode.BINARY, Opcode.CONT) else b""

    def send(self, data: bytes) -> None:
        """Queue bytes of the stream for sending; does nothing when the connection is closing.

        Raises:
            WebError: The peer has let too much pile up unread.
        """
        if self._protocol.state is not State.OPEN or self._writer.transport.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            raise WebError(f"the peer has left more than {_MAX_UNSENT} bytes unread")
        self._protocol.send_binary(data)
        # What one turn of the loop sends leaves in one TLS record: a record and its system call cost more than
        # everything else about a small frame.
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Say goodbye and close, after what is queued has been sent."""
        if self._protocol.state is State.OPEN:
            try:
                self._protocol.send_close()
            except (ConnectionClosed, InvalidState):  # the peer closed in this very moment
                _logger.debug("the peer closed first")
            self._flush()
        self._writer.close()

    def abort(self) -> None:
        """Cut the connection without a word, as a failing network does."""
        self._writer.transport.abort()

    def _flush(self) -> None:
        self._flush_due = False
        pieces = self._protocol.data_to_send()
        data = b"".join(pieces)
        if self._writer.transport.is_closing():
            return
        if data:
            self._writer.write(data)
        # An empty piece is the protocol's way to ask for the end of the stream.
        if b"" in pieces and self._writer.can_write_eof():
            self._writer.write_eof()


class WebServer:
    """Serves the connections that come out of the TLS layer.

    Args:
        media: Where media requests go.
        chat: Runs a chat connection until its end.
    """

    def __init__(self, media: MediaStore, chat: Callable[[WebSocket], Awaitable[None]]) -> None:
        self._media = media
        self._chat = chat

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until its end.

        Raises:
            WebError: The peer's bytes make no sense.
        """
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _FIRST_REQUEST)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        except asyncio.LimitOverrunError:
            raise WebError(f"a request's head has more than {MAX_HEAD} bytes") from None
        if b"\r\nupgrade: websocket\r\n" in head.lower():
            await self._chat(await WebSocket.accept(head, reader, writer))
        else:
            await self._serve_media(head, reader, writer)

    async def _serve_media(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        connection.receive_data(head)
        try:
            while request := await self._next_request(connection, reader):
                method, target, body = request
                answer = self._media.answer(method, target, body)
                headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
                start = h11.Response(status_code=answer.status.value, headers=headers, reason=answer.status.phrase)
                writer.write(connection.send(start) or b"")
                if method != "HEAD":
                    writer.write(connection.send(h11.Data(data=answer.body)) or b"")
                writer.write(connection.send(h11.EndOfMessage()) or b"")
                await writer.drain()
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
        except h11.ProtocolError as error:
            raise WebError(f"the request is not HTTP: {error}") from None
        except (ConnectionError, TimeoutError) as error:
            _logger.debug("a media connection was cut: %s", error)

    @staticmethod
    async def _next_request(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[str, str, bytes] | None:
        """Read a request whole: method, target, body; None at the end of the connection."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BLOB:
                    raise WebError(f"an upload has more than {MAX_BLOB} bytes")
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request.method.decode("ascii"), request.target.decode("ascii"), bytes(body)
            else:
                return None
