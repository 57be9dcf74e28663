"""A server in this process, and clients that are linked to its phones."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator.media import MediaStore
from gateway_worker.simulator.noise import ServerIdentity
from gateway_worker.simulator.proxy import ConnectProxy
from gateway_worker.simulator.server import Server
from gateway_worker.simulator.settings import SimulatorSettings
from gateway_worker.simulator.tls import TlsIdentity
from gateway_worker.simulator.web import WebServer
from tests.support.wa_client import ClientKeys, WaClient, open_client

if TYPE_CHECKING:
    from gateway_worker.simulator.registry import AccountRecord


@dataclass
class Net:
    """A running server and the clients that a test opens.

    Attributes:
        server: The server.
        file: The address file.
        stack: Closes what the test opened.
    """

    server: Server
    file: Path
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def phone(self, number: str = "") -> AccountRecord:
        """Add a phone whose own device nobody plays: nothing but the test's clients sends anything."""
        record = self.server.registry.create(number, "")
        record.is_phone = True
        return record

    async def open(self, keys: ClientKeys) -> WaClient:
        """Open a connection that is closed with the test."""
        return await self.stack.enter_async_context(open_client(self.file, keys))

    async def link(self, record: AccountRecord) -> ClientKeys:
        """Link a new client to a phone; it is not connected."""
        keys = ClientKeys()
        async with open_client(self.file, keys) as candidate:
            scan = asyncio.ensure_future(self.server.link(record, await candidate.code()))
            await candidate.confirm()
            end = await candidate.receive_tag("stream:error")
            assert end.attrs["code"] == "515"
        async with open_client(self.file, keys) as client:
            await client.receive_tag("success")
            await client.iq("encrypt", "set", *keys.key_nodes(20))
            await client.wake()
            await scan
        return keys

    async def client(self, record: AccountRecord | None = None) -> WaClient:
        """Link a client to a phone, a new one unless it is given, and log it in."""
        keys = await self.link(record or self.phone())
        client = await self.open(keys)
        await client.receive_tag("success")
        await client.wake()
        return client


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    """A running server with short waits, and no devices that it plays itself."""
    file = tmp_path / "simulator.json"
    settings = SimulatorSettings(file=file, ref_lifetimes=(0.5, 0.3), ref_grace=0, link_timeout=1.0)
    identity, tls, media = ServerIdentity.generate(), TlsIdentity.generate(), MediaStore(1 << 20, "auth")
    server = Server(settings, identity, media)
    proxy = ConnectProxy(
        tls.context,
        WebServer(media, server.chat).serve,
        admits=lambda: not server.faults.general.refuse_connections,
        on_bad_client=server.count_bad_client,
    )
    port = await proxy.start("127.0.0.1", 0)
    server.start()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(tls.ca_pem)
    address = {"proxy": f"http://127.0.0.1:{port}", "ca": str(ca), "root": identity.root.hex()}
    file.write_text(json.dumps(address))
    net = Net(server, file)
    async with net.stack:
        yield net
    await proxy.aclose()
    await server.aclose()
