"""A real engine, as a process of its own, driven over its contract."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from grpc import aio

from wagateway.engine.v1 import engine_pb2, engine_pb2_grpc

DEAD_PROXY: Final = "http://127.0.0.1:9"
"""A proxy that refuses connections: the discard port, where nothing listens on loopback."""

_PATIENCE: Final = 20.0


class CommandError(Exception):
    """An engine answered a command with a failure."""

    def __init__(self, failure: engine_pb2.Failure) -> None:
        self.failure = failure
        super().__init__(f"{engine_pb2.FailureKind.Name(failure.kind)} {failure.server_code} {failure.detail}")


def make_database(path: Path) -> Path:
    """Make an auth database as a worker does: an empty file in WAL mode."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return path


def simulator_environment(simulator: Path | None) -> dict[str, str]:
    """Environment of an engine for a simulator, or for nowhere."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment["NEONIZE_BOT_TAG"] = "off"
    if simulator is None:
        return environment | {"HTTPS_PROXY": DEAD_PROXY}
    described = json.loads(simulator.read_text())
    return environment | {"HTTPS_PROXY": described["proxy"], "SSL_CERT_FILE": described["ca"]}


class EngineProcess:
    """An engine and the worker's end of its two streams; an async context manager.

    Args:
        directory: Where socket, spool and log are.
        name: Id of the engine.
        simulator: Address file of a simulator; None for a network without WhatsApp.
        environment: Variables to set or, with None, to remove.
        acknowledge: Whether spooled events are acknowledged as they come.
        prefix: A program that the engine is run by, with its arguments.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "engine",
        simulator: Path | None = None,
        environment: Mapping[str, str] | None = None,
        acknowledge: bool = True,
        max_sessions: int = 50,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.spool = directory / f"spool-{name}"
        self.events: list[tuple[str, engine_pb2.EngineEvent]] = []
        self.health: list[engine_pb2.EngineHealth] = []
        self.log = directory / f"{name}.log"
        self._socket = directory / f"{name}.sock"
        self._simulator = simulator
        self._environment = simulator_environment(simulator) | dict(environment or {})
        self._acknowledge = acknowledge
        self._max_sessions = max_sessions
        self._prefix = prefix
        self._news = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._taken: set[int] = set()
        self._calls: dict[int, asyncio.Future[engine_pb2.ControlResponse]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        arguments = ["--id", self.name, "--socket", str(self._socket), "--spool", str(self.spool)]
        arguments += ["--parent", str(os.getpid()), "--max-sessions", str(self._max_sessions)]
        if self._simulator:
            arguments += ["--simulator", str(self._simulator)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._prefix,
                sys.executable,
                "-m",
                "gateway_worker.engine",
                *arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        self._channel = aio.insecure_channel(f"unix:{self._socket}", options=options)
        stub: engine_pb2_grpc.EngineServiceAsyncStub = engine_pb2_grpc.EngineServiceStub(self._channel)
        ready = asyncio.create_task(self._channel.channel_ready())
        dead = asyncio.create_task(self.process.wait())
        try:
            await asyncio.wait([ready, dead], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise AssertionError(f"the engine did not come up: {self.log.read_text()}")
        finally:
            ready.cancel()
            dead.cancel()
        self._control = stub.Control()
        self._stream = stub.Events()
        await self._stream.write(engine_pb2.EventsRequest(spool_id=self.name))
        self._tasks = [asyncio.create_task(self._read_answers()), asyncio.create_task(self._read_events())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()
        if self.process.returncode is None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        if error is not None:
            error.add_note(f"log of engine {self.name}:\n{self.log.read_text(errors='replace')[-6000:]}")

    async def call(self, request: engine_pb2.ControlRequest) -> engine_pb2.ControlResponse:
        """Send a command and return its answer. Raises CommandError."""
        request.call_id = len(self._calls) + 1
        future: asyncio.Future[engine_pb2.ControlResponse] = asyncio.get_running_loop().create_future()
        self._calls[request.call_id] = future
        async with self._writing:  # gRPC takes one write at a time
            await self._control.write(request)
        response = await future
        if response.HasField("failure"):
            raise CommandError(response.failure)
        return response

    async def start(self, handle: str, database: Path, device_name: str = "Test") -> None:
        """Start a client."""
        start = engine_pb2.StartSession(handle=handle, database_path=str(database), device_name=device_name)
        await self.call(engine_pb2.ControlRequest(start=start))

    async def stop(self, handle: str) -> None:
        """Stop a client."""
        await self.call(engine_pb2.ControlRequest(stop=engine_pb2.StopSession(handle=handle)))

    async def send(self, command: engine_pb2.SendMessage) -> engine_pb2.Sent:
        """Send a message."""
        return (await self.call(engine_pb2.ControlRequest(send=command))).sent

    async def import_spool(self, spool_id: str, path: Path, after: int = 0) -> int:
        """Import a spool; returns its last position."""
        command = engine_pb2.ImportSpool(spool_id=spool_id, path=str(path), after=after)
        return (await self.call(engine_pb2.ControlRequest(import_spool=command))).done.spooled

    async def event(
        self,
        handle: str,
        kind: str,
        condition: Callable[[engine_pb2.EngineEvent], bool] = lambda _: True,
        *,
        within: float = _PATIENCE,
    ) -> engine_pb2.EngineEvent:
        """Wait for a session's next event of a kind and take it, so that it is not found again."""
        async with asyncio.timeout(within), self._news:
            while (found := self._take(handle, kind, condition)) is None:
                await self._news.wait()
            return found

    def spooled(self, spool_id: str) -> list[engine_pb2.EngineEvent]:
        """All events of a spool so far."""
        return [event for spool, event in self.events if spool == spool_id]

    def _take(
        self, handle: str, kind: str, condition: Callable[[engine_pb2.EngineEvent], bool]
    ) -> engine_pb2.EngineEvent | None:
        for index, (_, event) in enumerate(self.events):
            wanted = index not in self._taken and event.handle == handle and event.WhichOneof("kind") == kind
            if wanted and condition(event):
                self._taken.add(index)
                return event
        return None

    async def kill(self) -> None:
        """End the engine as the kernel does."""
        self.process.kill()
        await self.process.wait()

    async def _read_answers(self) -> None:
        async for response in self._control:
            self._calls[response.call_id].set_result(response)

    async def _read_events(self) -> None:
        async for batch in self._stream:
            async with self._news:
                self.events += [(batch.spool_id if event.position else "", event) for event in batch.events]
                if batch.HasField("health"):
                    self.health.append(batch.health)
                self._news.notify_all()
            if self._acknowledge and batch.spool_id:
                position = max(event.position for event in batch.events)
                await self._stream.write(engine_pb2.EventsRequest(spool_id=batch.spool_id, position=position))
