"""What the gateway is compared with: clients without it, in a process of their own, on the same simulator.

There are two. :class:`NeonizeLoop` is the one that counts: neonize's own asyncio client with handlers for what arrives,
as somebody would write it who had no gateway. :class:`CoreLoop` calls neonize's Go library through ctypes on a thread a
client and looks at nothing that arrives: of no use to anybody, but nothing in Python can be faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.bench.run import TEXT, Run
from tests.support.api import SimulatorControl
from tests.support.bare_client import BareNeonize
from tests.support.processes import RunningSimulator
from wagateway.simulator.v1 import simulator_pb2

_PATIENCE: Final = 120.0  # s for one command
_LINE_LIMIT: Final = 64 << 20  # bytes


class Yardstick(ABC):
    """Clients in a process of their own; an async context manager.

    Args:
        simulator: The simulator.
        control: Its control API.
        directory: Where databases and logs go.
    """

    name: str
    """Its name in the keys of figures."""

    def __init__(self, simulator: RunningSimulator, control: SimulatorControl, directory: Path) -> None:
        self._simulator = simulator
        self._control = control
        self._directory = directory
        self._numbers: list[str] = []

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process id."""

    async def grow(self, count: int) -> None:
        """Link clients, one after the other, until there are so many."""
        while len(self._numbers) < count:
            number = (await self._control.AddPhone(simulator_pb2.AddPhoneRequest())).phone.number
            await self._link(len(self._numbers), number)
            self._numbers.append(number)

    async def run(self, senders: int, messages: int) -> Run:
        """Let the first clients send, each to the next in the ring of all of them."""
        ring = [(index, self._numbers[(index + 1) % len(self._numbers)]) for index in range(senders)]
        return await self._send(ring, messages)

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *_exc: object) -> None: ...

    @abstractmethod
    async def _link(self, index: int, number: str) -> None: ...

    @abstractmethod
    async def _send(self, ring: Sequence[tuple[int, str]], messages: int) -> Run: ...


class NeonizeLoop(Yardstick):
    """neonize's own asyncio client; see :mod:`tests.bench.neonize_loop`."""

    name = "neonize"

    _process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        address = json.loads(self._simulator.file.read_text(encoding="utf-8"))
        environment = {"HTTPS_PROXY": address["proxy"], "SSL_CERT_FILE": address["ca"], "NEONIZE_BOT_TAG": "off"}
        self._directory.mkdir(parents=True)
        with (self._directory / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.bench.neonize_loop", "--simulator", str(self._simulator.file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=os.environ | environment | {"NO_PROXY": ""},
                limit=_LINE_LIMIT,
            )
        await self._answer()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _link(self, index: int, number: str) -> None:
        database = self._directory / f"{index}.db"
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # a third faster than neonize's own choice
        code = (await self._call("link", database=str(database)))["code"]
        await self._control.ScanCode(simulator_pb2.ScanCodeRequest(number=number, code=code))
        await self._call("connected")

    async def _send(self, ring: Sequence[tuple[int, str]], messages: int) -> Run:
        answer = await self._call("send", ring=ring, messages=messages, text=TEXT)
        return Run.of(answer["latencies_ms"], answer["seconds"])

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": operation} | arguments).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            tail = (self._directory / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"the neonize loop ended:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class CoreLoop(Yardstick):
    """neonize's Go library through ctypes; see :mod:`tests.support.bare_neonize`."""

    name = "core"

    _client: BareNeonize

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._client._process is not None
        return self._client._process.pid

    async def __aenter__(self) -> Self:
        self._directory.mkdir(parents=True)
        self._client = BareNeonize(self._simulator.file, self._directory)
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.__aexit__()

    async def _link(self, index: int, number: str) -> None:
        await self._client.pair(f"c{index}", number, self._control)

    async def _send(self, ring: Sequence[tuple[int, str]], messages: int) -> Run:
        names = [[f"c{index}", f"{number}@s.whatsapp.net"] for index, number in ring]
        answer = await self._client.call("bench", ring=names, messages=messages, text=TEXT)
        return Run(answer["sends"], answer["seconds"], answer["p50_ms"], answer["p99_ms"])
