"""One engine process: its start, its output, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway_worker.adapters.engine.output import OutputLog

_LAST_WORDS = 1.0  # s that output may still take to arrive after the process ended


class EngineProcess:
    """A running engine process.

    Made by :meth:`spawn`. :attr:`ended` is done as soon as the process is gone.
    """

    def __init__(self, engine_id: str, process: asyncio.subprocess.Process) -> None:
        self.engine_id = engine_id
        self.pid = process.pid
        self._process = process
        streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        self._pumps = [
            asyncio.create_task(OutputLog(engine_id).pump(stream), name=f"output of engine {engine_id}")
            for stream in streams
        ]
        self.ended: asyncio.Task[str] = asyncio.create_task(self._wait(), name=f"end of engine {engine_id}")

    @classmethod
    async def spawn(
        cls,
        engine_id: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        socket: Path,
        spool: Path,
        max_sessions: int,
        simulator: Path | None,
    ) -> EngineProcess:
        """Start an engine's program.

        Args:
            engine_id: Its id, also the id of its spool.
            command: The program and its first arguments.
            environment: All of its environment.
            socket: Path of the Unix socket it is to listen on.
            spool: Its own folder for events.
            max_sessions: Clients it must have room for.
            simulator: JSON file of the simulator to use instead of WhatsApp.

        Raises:
            OSError: The program cannot be started.
        """
        arguments = ["--id", engine_id, "--socket", str(socket), "--spool", str(spool)]
        arguments += ["--parent", str(os.getpid()), "--max-sessions", str(max_sessions)]
        if simulator is not None:
            arguments += ["--simulator", str(simulator)]
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl+C at the terminal is for the worker, which then drains its engines
        )
        return cls(engine_id, process)

    @property
    def failed(self) -> bool:
        """Whether the process ended otherwise than with exit code 0."""
        return self._process.returncode not in (None, 0)

    def kill(self) -> None:
        """End the process at once, if it still runs."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _wait(self) -> str:
        """Wait for the end and return it in words."""
        code = await self._process.wait()
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"

    async def close(self) -> None:
        """Kill the process if it runs, and wait until it is gone and its last output is logged."""
        self.kill()
        await asyncio.wait([self.ended])
        _, late = await asyncio.wait(self._pumps, timeout=_LAST_WORDS)
        for pump in late:  # somebody else holds the pipe: nobody the engine should have started
            pump.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
