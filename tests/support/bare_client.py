"""Drives a ``bare_neonize`` child from asyncio; and, as a program, pairs sessions and measures them.

``python tests/support/bare_client.py bench --sessions 20 --messages 50`` starts a simulator and a child of its own and
prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from wagateway.simulator.v1 import simulator_pb2 as pb
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub

if TYPE_CHECKING:
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub

_CHILD: Final = Path(__file__).with_name("bare_neonize.py")
_LINE_LIMIT: Final = 64 << 20  # bytes; media passes in hex
_PATIENCE: Final = 30.0  # seconds

Event = dict[str, Any]


def read_address(file: Path) -> dict[str, str]:
    """Read a simulator's address file."""
    address: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return address


class ClientError(Exception):
    """The child answered a command with an error."""


class BareNeonize:
    """A child process with real clients; an async context manager.

    Args:
        simulator: The simulator's address file.
        directory: Where the sessions' databases go.
    """

    def __init__(self, simulator: Path, directory: Path) -> None:
        self._simulator = simulator
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Event]] = {}
        self._events: list[Event] = []
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        address = read_address(self._simulator)
        environment = os.environ | {
            "HTTPS_PROXY": address["proxy"],
            "SSL_CERT_FILE": address["ca"],
            "NEONIZE_BOT_TAG": "off",
            "NO_PROXY": "",
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_CHILD),
            "--simulator",
            str(self._simulator),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=_LINE_LIMIT,
        )
        self._reader = asyncio.create_task(self._read())
        await self.wait_for("", "ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader

    async def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("the child has not been started")
        async for line in process.stdout:
            event = json.loads(line)
            if "reply" in event:
                self._replies.pop(event.pop("reply")).set_result(event)
                continue
            async with self._arrived:
                self._events.append(event)
                self._arrived.notify_all()
        for reply in self._replies.values():
            reply.set_exception(ClientError("the child has ended"))

    async def call(self, operation: str, **arguments: Any) -> Event:
        """Give a command and wait for its answer.

        Raises:
            ClientError: The child answered with an error.
        """
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the child has not been started")
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "op": operation} | arguments) + "\n"
        self._process.stdin.write(line.encode())
        await self._process.stdin.drain()
        answer: Event = await reply
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer

    async def wait_for(
        self, session: str, event: str, matching: Callable[[Event], bool] = lambda _: True, patience: float = _PATIENCE
    ) -> Event:
        """Wait for an event, or take it from those that have come; each is taken once.

        Raises:
            TimeoutError: It did not come; the text says what did.
        """

        def take() -> Event | None:
            for index, candidate in enumerate(self._events):
                if (candidate["event"], candidate["session"]) == (event, session) and matching(candidate):
                    return self._events.pop(index)
            return None

        async with self._arrived:
            try:
                async with asyncio.timeout(patience):
                    while (taken := take()) is None:
                        await self._arrived.wait()
                    return taken
            except TimeoutError:
                raise TimeoutError(f"{session} had no {event} within {patience:g} s, but {self._events}") from None

    def pending(self, session: str, event: str) -> list[Event]:
        """List the events of a session that came and were not taken."""
        return [item for item in self._events if (item["event"], item["session"]) == (event, session)]

    async def start(self, session: str) -> None:
        """Start a session, with a new database in WAL mode if it has none."""
        database = self._directory / f"{session}.db"
        if not database.exists():
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        answer = await self.call("start", session=session, database=str(database))
        if not answer["started"]:
            raise ClientError(f"session {session} shows no sign of life")

    async def pair(self, session: str, phone: str, control: SimulatorServiceAsyncStub) -> str:
        """Start a session and link it to a phone by QR code; returns its JID."""
        await self.start(session)
        code = (await self.wait_for(session, "code"))["code"]
        scanned = await control.ScanCode(pb.ScanCodeRequest(number=phone, code=code))
        await self.wait_for(session, "connected")
        return str(scanned.jid)

    async def kill(self) -> None:
        """Kill the child, as a machine does that vanishes."""
        await self.__aexit__()


async def measure(simulator: Path, directory: Path, sessions: int, messages: int, text: str) -> dict[str, Any]:
    """Pair sessions, let them send in a ring, and report.

    With two sessions some messages may be lost: the Go core loads and stores a Signal session without a lock, so that
    sending to a peer and receiving from the same peer at once can set its ratchet back. A ring of one or of three and
    more has no such pairs.

    Args:
        simulator: The address file of a running simulator with a control API.
        directory: Where the databases go.
        sessions: How many sessions; a single one sends to a contact that the simulator plays.
        messages: Messages that each sends.
        text: What they say.

    Returns:
        What the child measured, and the simulator's CPU per relayed message in ms (``simulator_cpu_ms``).
    """
    async with (
        grpc.aio.insecure_channel(read_address(simulator)["control"]) as channel,
        BareNeonize(simulator, directory) as clients,
    ):
        control = SimulatorServiceStub(channel)
        names = [f"s{number}" for number in range(sessions)]
        jids: list[str] = []
        loop = asyncio.get_running_loop()
        started = loop.time()
        for name in names:
            phone = (await control.AddPhone(pb.AddPhoneRequest())).phone.number
            await clients.pair(name, phone, control)
            jids.append(f"{phone}@s.whatsapp.net")
        paired = loop.time() - started
        if sessions == 1:
            contact = (await control.AddContact(pb.AddContactRequest(behaviour=pb.BEHAVIOUR_SILENT))).contact
            jids.append(f"{contact.number}@s.whatsapp.net")
        ring = [[name, jids[(index + 1) % len(jids)]] for index, name in enumerate(names)]
        await clients.call("bench", ring=ring, messages=1, text=text)
        before = await control.GetStats(pb.GetStatsRequest())
        result = await clients.call("bench", ring=ring, messages=messages, text=text)
        after = await control.GetStats(pb.GetStatsRequest())
        relayed = after.messages_in - before.messages_in
        return result | {
            "sessions": sessions,
            "pairing_seconds": paired,
            "simulator_cpu_ms": 1000 * (after.cpu_seconds - before.cpu_seconds) / relayed,
        }


@contextlib.asynccontextmanager
async def simulator_process(file: Path) -> AsyncIterator[Path]:
    """Run a simulator as a process of its own; yields its address file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway_worker.simulator", "--file", str(file), stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None or not await process.stdout.readline():
            raise RuntimeError(f"the simulator ended with code {await process.wait()}")
        yield file
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _bench(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with contextlib.AsyncExitStack() as stack:
            file: Path = options.simulator or await stack.enter_async_context(
                simulator_process(Path(directory) / "simulator.json")
            )
            result = await measure(file, Path(directory), options.sessions, options.messages, "hello " * 4)
    sys.stdout.write(json.dumps(result) + "\n")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    bench = commands.add_parser("bench")
    bench.add_argument("--simulator", type=Path, help="address file of a running simulator (default: one of its own)")
    bench.add_argument("--sessions", type=int, default=20)
    bench.add_argument("--messages", type=int, default=50)
    asyncio.run(_bench(bench.parse_args(sys.argv[2:]) if sys.argv[1:2] == ["bench"] else parser.parse_args()))


if __name__ == "__main__":
    main()
