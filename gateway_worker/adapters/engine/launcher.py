"""Starts engines, and does not start them in a hurry when they keep dying."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway_worker.adapters.engine.backoff import Backoff
from gateway_worker.adapters.engine.client import EngineClient
from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.engine import Engine
from gateway_worker.adapters.engine.environment import SimulatorFile, SimulatorFileError, engine_environment
from gateway_worker.adapters.engine.placement import Role
from gateway_worker.adapters.engine.process import EngineProcess
from gateway_worker.adapters.engine.spools import SpoolDirectory
from gateway_worker.ports.engines import EngineGoneError, EngineListener
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un holds 108 with the final zero
_LONGEST_NAME = len("/pairing-01234567.sock")


class EngineLauncher:
    """Starts engine processes and connects to them.

    Args:
        config: Program, times, proxies.
        spools: Where spools are.
        listener: Who takes the events.
        observe: Sees every spooled event once, before the listener does.
    """

    def __init__(
        self,
        config: EngineConfig,
        spools: SpoolDirectory,
        listener: EngineListener,
        observe: Callable[[Sequence[engine_pb2.EngineEvent]], None],
    ) -> None:
        self._config = config
        self._spools = spools
        self._listener = listener
        self._observe = observe
        self._backoff = Backoff(config.restart_backoff, config.restart_backoff_max)
        self._not_before = 0.0
        self._sockets: Path | None = None

    def open(self) -> None:
        """Make the folder of the sockets and check the simulator's file. Raises OSError, SimulatorFileError."""
        if self._config.simulator is not None:
            SimulatorFile.read(self._config.simulator)
        self._sockets = _socket_folder(self._config.socket_directory)

    def close(self) -> None:
        """Delete the folder of the sockets."""
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None

    @property
    def wait(self) -> float:
        """Seconds until an engine may be started again; 0: now."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    def died(self, engine: Engine) -> None:
        """Take note of the end of an engine: one that dies young counts as a failed start."""
        if not engine.planned and asyncio.get_running_loop().time() - engine.born < self._config.stable_after:
            self._postpone()
        else:
            self._backoff.reset()

    async def launch(self, role: Role) -> Engine:
        """Start an engine and return it when it is ready.

        Raises:
            EngineGoneError: It did not come up, or others failed lately and it is too early to try again.
        """
        if self.wait:
            raise EngineGoneError(f"engines failed lately; the next one is started in {self.wait:.1f} s")
        if self._sockets is None:
            raise EngineGoneError("the engine pool is closed")
        engine_id = f"{role.value}-{secrets.token_hex(4)}"
        socket = self._sockets / f"{engine_id}.sock"
        try:
            simulator = None if self._config.simulator is None else SimulatorFile.read(self._config.simulator)
            process = await EngineProcess.spawn(
                engine_id,
                self._config.command,
                engine_environment(proxy=self._config.proxy, simulator=simulator),
                socket=socket,
                spool=self._spools.create(engine_id),
                max_sessions=self._config.clients_per_engine,
                simulator=self._config.simulator,
            )
        except (OSError, SimulatorFileError) as error:
            self._postpone()
            logger.error("engine %s could not be started: %s", engine_id, error)  # noqa: TRY400 - the text says it all
            self._spools.discard(engine_id)
            raise EngineGoneError("an engine could not be started") from error
        return await self._connect(role, process, socket)

    async def _connect(self, role: Role, process: EngineProcess, socket: Path) -> Engine:
        config = self._config
        redelivery = Backoff(config.redelivery_backoff, config.redelivery_backoff_max)
        client = EngineClient(process.engine_id, socket, self._listener, self._observe, redelivery)
        try:
            await self._wait_until_ready(process, client)
        except BaseException as error:
            process.kill()
            await client.close()
            await process.close()
            self._spools.discard(process.engine_id)  # no client was ever in it
            if isinstance(error, EngineGoneError):
                self._postpone()
                logger.error("engine %s: %s", process.engine_id, error)  # noqa: TRY400 - the text says it all
            raise
        logger.info("engine %s is ready (pid %d)", process.engine_id, process.pid)
        return Engine(role, process, client, config)

    async def _wait_until_ready(self, process: EngineProcess, client: EngineClient) -> None:
        ready = asyncio.create_task(client.ready(), name=f"start of engine {process.engine_id}")
        try:
            await asyncio.wait(
                [ready, process.ended], timeout=self._config.startup_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if process.ended.done():
                raise EngineGoneError(f"it did not come up: it {process.ended.result()}")
            if not ready.done():
                raise EngineGoneError(f"it did not come up within {self._config.startup_timeout:g} s")
            ready.result()
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    def _postpone(self) -> None:
        self._not_before = asyncio.get_running_loop().time() + self._backoff.next()


def _socket_folder(wanted: Path | None) -> Path:
    """A private folder with a path that leaves room for a socket's name. Raises OSError."""
    parent = wanted if wanted is not None else Path(tempfile.gettempdir())
    if wanted is not None:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="wagw-", dir=parent.resolve()))
    if len(bytes(folder)) + _LONGEST_NAME <= _SOCKET_PATH_LIMIT:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="wagw-", dir="/tmp"))  # mkdtemp makes it private
