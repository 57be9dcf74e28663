"""The simulator's only door: an HTTP proxy on loopback that clients are pointed at by ``HTTPS_PROXY``.

It takes ``CONNECT`` for WhatsApp's host names and nothing else. It never dials anywhere: the tunnel's far end is in
this very process, where TLS begins on the same socket. So a client can believe that it talks to WhatsApp, and cannot
reach the real one by mistake.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from fnmatch import fnmatch
from typing import Final

from gateway_worker.simulator.errors import BadClientError
from gateway_worker.simulator.tls import HOSTS
from gateway_worker.simulator.web import MAX_HEAD, WebError

_CONNECT: Final = re.compile(rb"CONNECT ([A-Za-z0-9.-]+):([0-9]{1,5}) HTTP/1\.[01]\r\n")
_HTTPS: Final = 443
_FIRST_REQUEST: Final = 15.0  # seconds
_HANDSHAKE: Final = 15.0  # seconds
_logger = logging.getLogger(__name__)

ServeStream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one decrypted connection until its end."""


class ConnectProxy:
    """Accepts connections on loopback and hands over what is inside their tunnels.

    Args:
        context: The TLS context of the tunnel's far end.
        serve: Serves a decrypted connection.
        admits: Asked for each new connection; False closes it at once.
        on_bad_client: Told when a connection ended because its bytes made no sense.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        serve: ServeStream,
        *,
        admits: Callable[[], bool],
        on_bad_client: Callable[[], None],
    ) -> None:
        self._context = context
        self._serve = serve
        self._admits = admits
        self._on_bad_client = on_bad_client
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses when ``port`` is 0."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def aclose(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._run(reader, writer), name="simulator-connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whatever it does, only it ends."""
        try:
            if self._admits():
                await self._tunnel(reader, writer)
        except BadClientError as error:
            self._report(error)
        except (ConnectionError, TimeoutError, ssl.SSLError) as error:
            _logger.info("a connection was cut: %s", error)
        except Exception:
            _logger.exception("a connection was ended by a defect of the simulator")
        finally:
            writer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _FIRST_REQUEST)
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            raise WebError(f"a request's head has more than {MAX_HEAD} bytes") from None
        match = _CONNECT.match(head)
        if match is None:
            await self._refuse(writer, b"405 Method Not Allowed", b"This proxy takes CONNECT only.")
            raise WebError(f"the proxy was asked {head[:60]!r}")
        host = match[1].decode("ascii").lower()
        if int(match[2]) != _HTTPS or not any(fnmatch(host, pattern) for pattern in HOSTS):
            await self._refuse(writer, b"403 Forbidden", b"This proxy leads to the WhatsApp simulator only.")
            _logger.warning("a client asked the proxy for %s:%d, which is not WhatsApp", host, int(match[2]))
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await self._serve_tls(writer.transport)

    async def _serve_tls(self, transport: asyncio.WriteTransport) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_HEAD, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        secure = await loop.start_tls(
            transport, protocol, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE
        )
        if secure is None:
            return
        protocol.connection_made(secure)
        writer = asyncio.StreamWriter(secure, protocol, reader, loop)
        try:
            await self._serve(reader, writer)
        except BadClientError as error:
            self._report(error)
        finally:
            # Give what is queued, such as a stream error, a moment to leave before the socket is cut.
            writer.close()
            try:
                await asyncio.wait_for(writer.wait_closed(), 1.0)
            except (ConnectionError, TimeoutError, ssl.SSLError) as error:
                _logger.debug("a connection did not close in order: %s", error)

    def _report(self, error: BadClientError) -> None:
        self._on_bad_client()
        _logger.warning("a connection was ended: %s", error)

    @staticmethod
    async def _refuse(writer: asyncio.StreamWriter, status: bytes, text: bytes) -> None:
        length = b"Content-Length: %d\r\n" % len(text)
        writer.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain\r\n" + length + b"Connection: close\r\n\r\n" + text
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
