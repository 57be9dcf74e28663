"""Runs simulators and workers as processes of their own, each with its output in a file.

When the body of :func:`running_worker` or :func:`running_simulator` fails, the end of that file is added to the error
as a note, which pytest shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Final, Literal

import grpc
from grpc_health.v1 import health_pb2

from tests.support import procfs
from wagateway.worker.v1 import worker_pb2

START_TIMEOUT: Final = 30.0
"""Seconds that a program gets until it is ready."""

STOP_TIMEOUT: Final = 40.0
"""Seconds that a program gets to end after SIGTERM: more than its own limits add up to."""

WORKER_SERVICE: Final = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name
"""The service whose health says that a worker takes calls."""

_POLL: Final = 0.005  # s; start-up times are read off it
_EAGER: Final = (("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50))
_TAIL: Final = 6000  # characters of output shown on failure
_ENGINE: Final = "gateway_worker.engine"

EngineRole = Literal["session", "pairing"]


class ProcessError(Exception):
    """A program did not start, did not get ready or did not end."""


class RunningProcess:
    """A program that runs.

    Attributes:
        pid: Its process id.
        log: File that takes its standard output and error.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process

    @property
    def returncode(self) -> int | None:
        """Exit code; negative: the signal that ended it; None: it runs."""
        return self._process.returncode

    async def kill(self) -> None:
        """End it with SIGKILL, as the kernel does when memory runs out; returns when it is gone."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def terminate(self, patience: float = STOP_TIMEOUT) -> int:
        """Ask it to end with SIGTERM; returns its exit code.

        Raises:
            ProcessError: It did not end in time; it was killed.
        """
        if self._process.returncode is None:
            self._process.terminate()
        return await self.wait(patience)

    async def wait(self, patience: float = STOP_TIMEOUT) -> int:
        """Wait until it ends; returns its exit code.

        Raises:
            ProcessError: It did not end in time; it was killed.
        """
        try:
            async with asyncio.timeout(patience):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise ProcessError(f"process {self.pid} did not end within {patience:g} s") from None

    def output(self) -> str:
        """What it wrote so far, standard output and error together."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def explain(self, error: Exception) -> None:
        """Add the end of its output to an error as a note."""
        error.add_note(f"--- {self.log.name} (exit code {self.returncode}) ---\n{_end_of(self.log)}")


class RunningSimulator(RunningProcess):
    """A simulator that is ready.

    Attributes:
        file: Its address file, for ``GATEWAY_SIMULATOR``.
        target: Address of its control API.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, file: Path) -> None:
        super().__init__(process, log)
        self.file = file
        self.target = str(json.loads(file.read_text(encoding="utf-8"))["control"])


class RunningWorker(RunningProcess):
    """A worker.

    Attributes:
        target: Address of its gRPC API.
        data_dir: Its data directory.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, target: str, data_dir: Path) -> None:
        super().__init__(process, log)
        self.target = target
        self.data_dir = data_dir

    def engine_pids(self, role: EngineRole | None = None) -> list[int]:
        """Process ids of its engines.

        Args:
            role: Only engines for this; None: all.
        """
        return [pid for pid in procfs.children(self.pid) if _is_engine(procfs.command_line(pid), role)]

    async def kill(self) -> None:
        """End it with SIGKILL; returns when it and its engines are gone.

        Raises:
            ProcessError: An engine outlives it.
        """
        engines = self.engine_pids()
        await super().kill()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                while any(procfs.is_alive(pid) for pid in engines):
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise ProcessError(f"engines {engines} outlive their worker {self.pid}") from None


def _is_engine(arguments: list[str], role: EngineRole | None) -> bool:
    if _ENGINE not in arguments or "--id" not in arguments:
        return False
    return role is None or arguments[arguments.index("--id") + 1].startswith(f"{role}-")


def free_port() -> int:
    """A port on loopback that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def running_simulator(directory: Path) -> AsyncIterator[RunningSimulator]:
    """Run a simulator until the block ends.

    Args:
        directory: Where its address file and its log go.

    Raises:
        ProcessError: It did not get ready.
    """
    file = directory / "simulator.json"
    log = _fresh_log(directory, "simulator")
    arguments = ["-m", "gateway_worker.simulator", "--file", str(file)]
    async with _running(arguments, log, {}) as process:
        await _until_ready(process, log, _existence(file))
        simulator = RunningSimulator(process, log, file)
        async with _telling(simulator):
            yield simulator


@contextlib.asynccontextmanager
async def running_worker(
    *,
    data_dir: Path,
    simulator: RunningSimulator | Path | None = None,
    env: Mapping[str, str] | None = None,
    log_directory: Path | None = None,
    ready: bool = True,
    module: str = "gateway_worker.cli",
) -> AsyncIterator[RunningWorker]:
    """Run a worker until the block ends, then terminate it if it still runs.

    Args:
        data_dir: Its data directory.
        simulator: The simulator it talks to, or its address file; None: it would talk to WhatsApp.
        env: More variables for its environment, for example ``GATEWAY_*``.
        log_directory: Where its log goes; None: beside the data directory.
        ready: Whether to wait until it takes calls; False for a worker that is expected to refuse to start.
        module: Module that is run as the command line.

    Raises:
        ProcessError: It did not get ready.
    """
    target = f"127.0.0.1:{free_port()}"
    log = _fresh_log(data_dir.parent if log_directory is None else log_directory, "worker")
    settings = {"GATEWAY_LISTEN": target, "GATEWAY_DATA_DIR": str(data_dir)}
    if simulator is not None:
        settings["GATEWAY_SIMULATOR"] = str(simulator.file if isinstance(simulator, RunningSimulator) else simulator)
    # In the folder of the log there is no .env of the person who runs this.
    async with _running(["-m", module, "serve"], log, settings | dict(env or {})) as process:
        if ready:
            await _until_ready(process, log, _service(target))
        worker = RunningWorker(process, log, target, data_dir)
        async with _telling(worker):
            yield worker


@contextlib.asynccontextmanager
async def _running(
    arguments: list[str], log: Path, settings: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program with a clean ``GATEWAY_*`` environment; end it with the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=environment | dict(settings),
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        await RunningProcess(process, log).terminate()


@contextlib.asynccontextmanager
async def _telling(process: RunningProcess) -> AsyncIterator[None]:
    """Add the end of the output to an error that leaves the block."""
    try:
        yield
    except Exception as error:
        process.explain(error)
        raise


async def _until_ready(process: asyncio.subprocess.Process, log: Path, ready: Awaitable[None]) -> None:
    """Wait until it is ready, or has ended.

    Raises:
        ProcessError: It ended, or is not ready in time; the text holds the end of its output.
    """
    tasks = [asyncio.ensure_future(ready), asyncio.ensure_future(process.wait())]
    try:
        await asyncio.wait(tasks, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is not None:
            raise ProcessError(f"it ended with code {process.returncode}:\n{_end_of(log)}")
        if not tasks[0].done():
            raise ProcessError(f"it was not ready within {START_TIMEOUT:g} s:\n{_end_of(log)}")
        await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _existence(file: Path) -> None:
    while not file.exists():
        await asyncio.sleep(_POLL)


async def _service(target: str) -> None:
    """Wait until a worker takes calls, by grpc.health.v1."""
    async with grpc.aio.insecure_channel(target, options=_EAGER) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        async for answer in watch(health_pb2.HealthCheckRequest(service=WORKER_SERVICE), wait_for_ready=True):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
        raise ProcessError(f"the health of {target} can no longer be watched")


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]


def _fresh_log(directory: Path, name: str) -> Path:
    """A log file that does not exist yet: a worker that is started again gets the next number."""
    directory.mkdir(parents=True, exist_ok=True)
    number = 1
    while (log := directory / f"{name}-{number}.log").exists():
        number += 1
    return log
