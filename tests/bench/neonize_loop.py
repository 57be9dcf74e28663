"""The yardstick: neonize's own asyncio client in a loop, as a program without a gateway would be written.

A child process. It takes commands as lines of JSON and answers each with one:

- ``{"op": "link", "database": PATH}``: start a client on a database; ``{"code": TEXT}``, the first QR code.
- ``{"op": "connected"}``: wait for the client started last; ``{}``.
- ``{"op": "send", "ring": [[INDEX, NUMBER], …], "messages": N, "text": TEXT}``: let clients send, each one message
  after the other, all of them at once, and wait until all have arrived; ``{"seconds": S, "latencies_ms": […]}``.

Every client takes messages and receipts with a handler, as a program that is of any use does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import neonize.aioze.client as neonize_client
import neonize.aioze.events as neonize_events
import neonize.utils
import uvloop
from neonize import _binder

from gateway_worker.engine.root_key import install_root_key

_THREADS: Final = 256  # neonize blocks one for each client and one for each call, all from the loop's default executor
_ARRIVED: Final = 30.0  # s that the last messages may take to arrive
_POLL: Final = 0.01  # s


class Loop:
    """The clients."""

    def __init__(self) -> None:
        self._clients: list[Any] = []
        self._connected: list[asyncio.Event] = []
        self._received = 0
        self._receipts = 0

    async def link(self, database: str) -> dict[str, Any]:
        """Start a client and return its first QR code."""
        client: Any = neonize_client.NewAClient(database)
        connected = asyncio.Event()
        code: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def on_qr(_client: Any, data: bytes) -> None:
            if not code.done():
                code.set_result(data.decode())

        async def on_connected(_client: Any, _event: Any) -> None:
            connected.set()

        client.event.qr(on_qr)
        client.event(neonize_events.ConnectedEv)(on_connected)
        client.event(neonize_events.MessageEv)(self._on_message)
        client.event(neonize_events.ReceiptEv)(self._on_receipt)
        self._clients.append(client)
        self._connected.append(connected)
        await client.connect()
        return {"code": await code}

    async def connected(self) -> dict[str, Any]:
        """Wait until the client that was started last is logged in."""
        await self._connected[-1].wait()
        return {}

    async def send(self, ring: list[tuple[int, str]], messages: int, text: str) -> dict[str, Any]:
        """Let clients send, and wait until everything has arrived."""
        latencies: list[float] = []
        expected = self._received + messages * len(ring)

        async def run(index: int, number: str) -> None:
            client, to = self._clients[index], neonize.utils.build_jid(number)
            for _ in range(messages):
                before = time.perf_counter()
                await client.send_message(to, text)
                latencies.append(1000 * (time.perf_counter() - before))

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for index, number in ring:
                group.create_task(run(index, number))
        seconds = time.perf_counter() - started
        async with asyncio.timeout(_ARRIVED):
            while self._received < expected:
                await asyncio.sleep(_POLL)
        return {"seconds": seconds, "latencies_ms": latencies}

    async def _on_message(self, _client: Any, _event: Any) -> None:
        self._received += 1

    async def _on_receipt(self, _client: Any, _event: Any) -> None:
        self._receipts += 1


async def _serve(answer: Callable[[dict[str, Any]], None]) -> None:
    running = asyncio.get_running_loop()
    running.set_default_executor(ThreadPoolExecutor(_THREADS))
    loop = Loop()
    while line := await running.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer(await getattr(loop, command.pop("op"))(**command))


def main() -> None:
    """Load the Go core, trust the simulator, take commands until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulator", type=Path, required=True, help="the simulator's address file")
    address = json.loads(parser.parse_args().simulator.read_text(encoding="utf-8"))
    install_root_key(bytes.fromhex(address["root"]), Path(_binder.gocode._name))
    # The Go core writes to the standard output as it likes: it gets the standard error for that.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(line: dict[str, Any]) -> None:
        output.write(json.dumps(line) + "\n")
        output.flush()

    answer({})
    uvloop.run(_serve(answer))
    # Threads that wait inside the Go core never return: joining them would hang.
    os._exit(0)


if __name__ == "__main__":
    main()
