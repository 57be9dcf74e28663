"""The demo's own child processes: the simulator, the worker, and the engines below it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway_worker.cli.demo.errors import DemoError

START_TIMEOUT: Final = 30.0
"""Seconds that a child gets until it is ready."""

STOP_TIMEOUT: Final = 10.0
"""Seconds that a child gets to drain before it is killed."""

_TAIL_LINES: Final = 15
_ENGINE: Final = b"gateway_worker.engine"
_PROC: Final = Path("/proc")


class Child:
    """A child process that says on its standard output, by a line of JSON, when it is ready.

    Args:
        name: What it is called in messages.
        process: The process.
        log: File of what it writes.

    Attributes:
        ready: The line by which it said that it is ready; empty before.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.ready: dict[str, Any] = {}
        self._process = process
        self._log = log

    @property
    def running(self) -> bool:
        """True until it ended."""
        return self._process.returncode is None

    async def wait_ready(self) -> None:
        """Wait until it is ready. Raises DemoError when it ends before, or takes too long."""
        output = self._process.stdout
        if output is None:  # it is started with a pipe
            raise DemoError(f"{self.name} has no output")
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while line := await output.readline():
                    if announced := _announcement(line):
                        self.ready = announced
                        return
                code = await self._process.wait()
        except TimeoutError:
            raise DemoError(f"{self.name} was not ready within {START_TIMEOUT:g} s") from None
        raise DemoError(f"{self.name} ended with exit code {code} before it was ready")

    async def wait(self) -> None:
        """Return when it ended."""
        await self._process.wait()

    async def stop(self) -> None:
        """Let it drain, kill it if that takes too long; returns when it is gone."""
        if not self.running:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def log_tail(self) -> list[str]:
        """Return the last lines that it logged."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]


class Children:
    """The demo's child processes, in the order of their start.

    Args:
        folder: Where they work, and where their logs go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Child] = []

    @asynccontextmanager
    async def running(
        self, name: str, module: str, *arguments: str, settings: dict[str, str]
    ) -> AsyncGenerator[Child, None]:
        """Run a module in a process of its own, from when it is ready until the context ends.

        Args:
            name: What it is called.
            module: The module, as for ``python -m``.
            arguments: Its arguments.
            settings: Its ``GATEWAY_*`` variables; those of this process are left out.

        Raises:
            DemoError: It does not start.
        """
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway_worker.cli.tied", module, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                cwd=self._folder,
                env=_environment(settings),
                # Ctrl-C is for the demo, which then lets its children drain in order.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.all.append(child)
        try:
            await child.wait_ready()
            yield child
        finally:
            await child.stop()


def engines_of(worker: int) -> list[int]:
    """Return the process ids of a worker's engines: those of its descendants that run one.

    Args:
        worker: The worker's process id.

    Raises:
        DemoError: This system has no ``/proc`` to look at.
    """
    if not (_PROC / "self" / "stat").exists():
        raise DemoError("the processes of this system cannot be listed: the demo needs Linux")
    children: dict[int, list[int]] = {}
    for process in _processes():
        if (parent := _parent(process)) is not None:
            children.setdefault(parent, []).append(process)
    descendants, queue = [], [worker]
    while queue:
        found = children.get(queue.pop(), [])
        descendants += found
        queue += found
    return sorted(process for process in descendants if _runs_engine(process))


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def _parent(process: int) -> int | None:
    """Return a process's parent; None when it ended meanwhile."""
    try:
        stat = (_PROC / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything; after it come the state and the parent.
    return int(stat.rpartition(")")[2].split()[1])


def _runs_engine(process: int) -> bool:
    """Say whether a process's command line is an engine's."""
    try:
        command = (_PROC / str(process) / "cmdline").read_bytes()
    except OSError:
        return False  # it ended meanwhile
    return any(part.startswith(_ENGINE) for part in command.split(b"\0"))


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Return this process's environment with these ``GATEWAY_*`` variables and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return inherited | settings


def _announcement(line: bytes) -> dict[str, Any]:
    """Return the line's JSON object when it says that a process is ready, else an empty one."""
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("event") == "ready" else {}
