"""The door: a proxy that leads nowhere else, TLS, and the media hosts behind it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from gateway_worker.simulator import media as media_module
from gateway_worker.simulator.errors import InvalidError, NotFoundError
from gateway_worker.simulator.faults import Faults
from gateway_worker.simulator.media import MediaStore
from tests.support.bare_client import read_address
from tests.support.wa_client import ClientKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.simulator.conftest import Net

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _proxy(net: Net) -> AsyncIterator[Streams]:
    port = urlsplit(read_address(net.file)["proxy"]).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def _tunnel(net: Net, host: str) -> AsyncIterator[Streams]:
    """Open a TLS connection to a host through the proxy."""
    async with _proxy(net) as (reader, writer):
        writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        context = ssl.create_default_context(cafile=read_address(net.file)["ca"])
        await writer.start_tls(context, server_hostname=host)
        yield reader, writer


async def _request(streams: Streams, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    """Make an HTTP request; returns status and body."""
    reader, writer = streams
    head = f"{method} {target} HTTP/1.1\r\nHost: mmg.whatsapp.net\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in answer[1:] if line)
    length = 0 if method == "HEAD" else int(headers["content-length"])
    return int(answer[0].split()[1]), await reader.readexactly(length)


def _token(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()


async def test_media_goes_up_and_down(net: Net) -> None:
    """An upload answers with the places where the same bytes can be had, on one connection, until it is deleted."""
    data = bytes(range(256)) * 1000
    async with _tunnel(net, "mmg.whatsapp.net") as streams:
        status, body = await _request(
            streams, "POST", f"/mms/image/{_token(data)}?auth=auth&token={_token(data)}", data
        )
        answer = json.loads(body)
        assert status == 200
        assert answer["url"] == "https://mmg.whatsapp.net" + answer["direct_path"]
        assert "?" in answer["direct_path"]
        assert set(answer) == {"url", "direct_path", "handle", "object_id"}

        path = answer["direct_path"] + "&hash=x&mms-type=image&__wa-mms="
        assert await _request(streams, "GET", path) == (200, data)
        assert (await _request(streams, "HEAD", path))[0] == 200

        named = base64.urlsafe_b64encode(answer["direct_path"].partition("?")[0].encode()).decode()
        assert (await _request(streams, "DELETE", f"/mms/image/x?auth=auth&d_md={named}"))[0] == 200
        assert (await _request(streams, "GET", path))[0] == 404
        assert (await _request(streams, "DELETE", f"/mms/image/x?auth=auth&d_md={named}"))[0] == 404


async def test_media_hosts_refuse(net: Net) -> None:
    """A wrong secret, a token that is not the body's hash, an empty body, another path."""
    data = b"encrypted"
    async with _tunnel(net, "media-fra3-1.cdn.whatsapp.net") as streams:
        assert (await _request(streams, "POST", f"/mms/image/x?auth=wrong&token={_token(data)}", data))[0] == 401
        assert (await _request(streams, "POST", f"/mms/image/x?auth=auth&token={_token(b'other')}", data))[0] == 400
        assert (await _request(streams, "POST", "/mms/image/x?auth=auth&token=%%%", data))[0] == 400
        assert (await _request(streams, "POST", f"/mms/image/x?auth=auth&token={_token(b'')}"))[0] == 413
        assert (await _request(streams, "GET", "/"))[0] == 404
        assert (await _request(streams, "PUT", "/mms/image/x?auth=auth", data))[0] == 404


async def test_an_oversized_upload_ends_the_connection(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills the memory with one request."""
    monkeypatch.setattr("gateway_worker.simulator.web.MAX_BLOB", 1000)
    async with _tunnel(net, "mmg.whatsapp.net") as (reader, writer):
        writer.write(b"POST /mms/image/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(2000))
        assert await reader.read() == b""
    assert net.server.stats.bad_clients == 1


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 20_000], ids=len)
async def test_what_is_not_http_ends_the_connection(net: Net, request_: bytes) -> None:
    """A request without sense, without a host, or without end."""
    async with _tunnel(net, "mmg.whatsapp.net") as (reader, writer):
        writer.write(request_)
        assert await reader.read() == b""
    assert net.server.stats.bad_clients == 1


async def test_a_wrong_websocket_handshake_is_answered(net: Net) -> None:
    """A handshake without a key gets a 400, and its connection ends."""
    async with _tunnel(net, "web.whatsapp.com") as (reader, writer):
        writer.write(b"GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", ["example.com:443", "web.whatsapp.com:80", "web.whatsapp.com.example.com:443"])
async def test_the_proxy_leads_nowhere_else(net: Net, target: str) -> None:
    """Only WhatsApp's hosts on 443 have a tunnel; everything else is forbidden, and nobody is dialled."""
    async with _proxy(net) as (reader, writer):
        writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("request_", [b"GET http://example.com/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n"])
async def test_the_proxy_takes_connect_only(net: Net, request_: bytes) -> None:
    """A plain request, and TLS without a tunnel, are refused."""
    async with _proxy(net) as (reader, writer):
        writer.write(request_)
        assert (await reader.read()).startswith(b"HTTP/1.1 405 ")


async def test_no_tls_in_the_tunnel_ends_the_connection(net: Net) -> None:
    """Garbage where TLS should begin harms nobody."""
    async with _proxy(net) as (reader, writer):
        writer.write(b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"no TLS at all\r\n\r\n")
        await reader.read()
    assert (await (await net.client()).iq("w:p", "get")).attrs["type"] == "result"


async def test_connections_can_be_refused(net: Net) -> None:
    """With that fault a connection ends before a word is said; without it, the next one works."""
    net.server.faults.set("", Faults(refuse_connections=True))
    async with _proxy(net) as (reader, _):
        with suppress(ConnectionResetError):  # the other face of the same thing
            assert await reader.read() == b""

    net.server.faults.set("", Faults())
    await net.open(ClientKeys())


def test_old_media_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stays within its budget, keeps the newest, and stores equal bytes once."""
    store = MediaStore(100, "auth")
    first, second = store.store(b"a" * 60), store.store(b"b" * 40)
    assert store.store(b"a" * 60) == first
    store.store(b"c" * 30)

    with pytest.raises(NotFoundError):
        store.load(first.direct_path)
    assert store.load(second.url) == b"b" * 40
    monkeypatch.setattr(media_module, "MAX_BLOB", 50)
    for wrong in (b"", b"x" * 51):
        with pytest.raises(InvalidError, match="1 to 50 bytes"):
            store.store(wrong)
