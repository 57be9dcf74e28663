"""Runs a simulator: puts its parts together, listens, and writes the file that a worker is pointed at."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from gateway_worker.simulator.control import ControlServer
from gateway_worker.simulator.media import MediaStore
from gateway_worker.simulator.noise import ServerIdentity
from gateway_worker.simulator.players import Players
from gateway_worker.simulator.proxy import ConnectProxy
from gateway_worker.simulator.server import Server
from gateway_worker.simulator.tls import TlsIdentity
from gateway_worker.simulator.web import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gateway_worker.simulator.settings import SimulatorSettings

LOOPBACK: Final = "127.0.0.1"
"""The only address that a simulator listens on."""

_PRIVATE: Final = 0o600
_logger = logging.getLogger(__name__)


class Simulator:
    """A WhatsApp server on loopback, with phones and contacts; an async context manager.

    Args:
        settings: Its settings.

    Attributes:
        file: The address file: JSON with ``proxy`` (URL), ``ca`` (path of a PEM file), ``root`` (hex of the Noise root
            key) and ``control`` (the control API's target). It exists, readable by its owner only, while this runs.
        control_target: The control API's ``host:port``, for a gRPC channel; empty before the start.
        server: The server, for tests that look inside.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        settings.validate()
        self.file = settings.file.absolute()
        self.control_target = ""
        self._settings = settings
        self._stack = AsyncExitStack()
        self._identity = ServerIdentity.generate()
        self._tls = TlsIdentity.generate()
        media = MediaStore(settings.media_budget, secrets.token_urlsafe(24))
        self.server = Server(settings, self._identity, media)
        self._web = WebServer(media, self.server.chat)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            players = Players(self.server)
            stack.push_async_callback(players.aclose)
            self.server.start()
            stack.push_async_callback(self.server.aclose)
            proxy = ConnectProxy(
                self._tls.context,
                self._web.serve,
                admits=lambda: not self.server.faults.general.refuse_connections,
                on_bad_client=self.server.count_bad_client,
            )
            port = await proxy.start(LOOPBACK, self._settings.port)
            stack.push_async_callback(proxy.aclose)
            control = ControlServer(self.server, players)
            control_port = await control.start(LOOPBACK, self._settings.control_port)
            stack.push_async_callback(control.aclose)
            self.control_target = f"{LOOPBACK}:{control_port}"
            self._write_files(port, stack)
            self._stack = stack.pop_all()
        _logger.info("simulator ready: clients by %s:%d, control by %s", LOOPBACK, port, self.control_target)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _write_files(self, port: int, stack: AsyncExitStack) -> None:
        ca = self.file.with_name(self.file.name + ".pem")
        address = {
            "proxy": f"http://{LOOPBACK}:{port}",
            "ca": str(ca),
            "root": self._identity.root.hex(),
            "control": self.control_target,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        for path, content in ((ca, self._tls.ca_pem), (self.file, json.dumps(address).encode() + b"\n")):
            _write_private(path, content)
            stack.callback(path.unlink, missing_ok=True)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; who sees it sees it whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


async def serve(settings: SimulatorSettings, ready: Callable[[Simulator], None]) -> None:
    """Run a simulator until SIGINT or SIGTERM, or until cancelled.

    Args:
        settings: Its settings.
        ready: Called once it accepts clients.

    Raises:
        InvalidError: A setting is not accepted.
        OSError: It cannot listen, or write its files.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Simulator(settings) as simulator:
            ready(simulator)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
