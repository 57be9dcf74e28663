"""The clients of this engine: starting, calling and ending them without tripping over the library.

Everything here runs on the event loop; what blocks goes to this module's own threads, never to the loop's default
executor (trap 1, docs/neonize-traps.md).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from gateway_worker.engine.binding import GoLibrary
from gateway_worker.engine.client import Client, Phase
from gateway_worker.engine.codes import Code
from gateway_worker.engine.database import UnusablePathError, data_source_name
from gateway_worker.engine.failures import CommandFailedError, start_failure
from gateway_worker.engine.gate import MapsGate
from gateway_worker.engine.intake import Intake
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SPARE_THREADS: Final = 8
_MAPS_WRITTEN: Final = 0.05
"""Seconds after which a start has certainly written the library's maps: measured are 1 ms, 14 ms for a new database."""
_SPACING: Final = 0.25
"""Longest time between the start of a client and that of the next: eight at once hung two cold starts in ten."""
_SOON: Final = 2.0
_RETURN: Final = 5.0
_POLL: Final = 0.01

_UNENCODABLE: Final = re.compile(r"neonize\.(\w+)\.\w+")
_RECOVERED: Final = {
    "TemporaryBan": Code.TEMPORARY_BAN,
    "ConnectFailure": Code.CONNECT_FAILURE,
    "LoggedOut": Code.LOGGED_OUT,
}
"""Events that the library cannot encode when WhatsApp gives a code it has no name for (docs/neonize-traps.md)."""


class Host:
    """Starts, calls and ends clients.

    Args:
        library: The Go library.
        intake: Takes the clients' events.
        max_clients: Most clients at a time.
    """

    def __init__(self, library: GoLibrary, intake: Intake, max_clients: int) -> None:
        self._library = library
        self._intake = intake
        self._max_clients = max_clients
        self._loop = asyncio.get_running_loop()
        self.on_login: Callable[[Client], None] = lambda _client: None
        """Called when a client has logged in."""
        self._live: dict[str, Client] = {}
        self._started = 0
        self._closing = False
        self._gate = MapsGate()
        self._one_at_a_time = asyncio.Lock()  # trap 2: starts and stops write Go maps that have no lock
        self._calls = ThreadPoolExecutor(max_clients + _SPARE_THREADS, thread_name_prefix="call")
        self._map_writers = ThreadPoolExecutor(1, thread_name_prefix="maps")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> list[Client]:
        """The clients that are live."""
        return list(self._live.values())

    def find(self, handle: str) -> Client | None:
        """The live client of a session; None when there is none."""
        client = self._live.get(handle)
        return None if client is None or client.ending else client

    def live(self, handle: str) -> Client:
        """The live client of a session.

        Raises:
            CommandFailedError: NOT_LIVE, or SHUTTING_DOWN.
        """
        if self._closing:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_SHUTTING_DOWN)
        client = self.find(handle)
        if client is None:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_NOT_LIVE)
        return client

    async def start(self, handle: str, database: Path, device_name: str) -> None:
        """Start a client; returns once its thread runs.

        Raises:
            CommandFailedError: SHUTTING_DOWN, or INTERNAL: the handle is taken, the engine is full, or the path is not
                usable.
        """
        if self._closing:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_SHUTTING_DOWN)
        if handle in self._live:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, "a client is live under this handle")
        if len(self._live) >= self._max_clients:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, f"{self._max_clients} clients are live already")
        try:
            name = data_source_name(database)
        except UnusablePathError as error:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, str(error)) from error
        self._started += 1
        client = Client(
            self._started,
            handle,
            library=self._library,
            intake=self._intake,
            loop=self._loop,
            on_login=self._on_login,
            on_return=self._on_return,
            on_trouble=self._on_trouble,
        )
        self._live[handle] = client
        await self._one_at_a_time.acquire()
        await self._loop.run_in_executor(self._map_writers, self._gate.close)
        try:
            client.start_thread(name, device_name)
        except RuntimeError as error:  # the process has as many threads as it may have
            self._gate.open()
            self._one_at_a_time.release()
            self._forget(client)
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, str(error)) from error
        self._spawn(self._let_start(client))

    async def stop(self, handle: str) -> None:
        """End a client; returns once nothing more comes of it and all that came is in the spool.

        Does nothing when none is live.
        """
        client = self._live.get(handle)
        if client is None:
            return
        if client.ending:
            await client.ended.wait()
        else:
            client.ending = True
            await self._end(client)
            self._forget(client)

    async def close(self) -> None:
        """End all clients. No other starts from here on."""
        self._closing = True
        await asyncio.gather(*(self.stop(handle) for handle in list(self._live)))

    def release(self) -> None:
        """Let the threads go that wait for work; for tests, a process just exits."""
        self._calls.shutdown(wait=False)
        self._map_writers.shutdown(wait=False)

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what blocks, but is no call of the library, on a thread."""
        return await self._loop.run_in_executor(self._calls, lambda: function(*args, **kwargs))

    async def call(self, function: Callable[..., _T], client: Client, *args: object, **kwargs: object) -> _T:
        """Call a function of the library for a client, on a thread.

        Trap 17: for an id that the library does not know most functions end the process, so this takes a client.
        """
        return await self._loop.run_in_executor(self._calls, self._gated, function, client.go_id, args, kwargs)

    def _gated(
        self, function: Callable[..., _T], go_id: bytes, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> _T:
        with self._gate.reading():
            return function(go_id, *args, **kwargs)

    async def _let_start(self, client: Client) -> None:
        """Let calls in, and then the next start, as soon as this one is past the dangerous part."""
        try:
            await _within(_MAPS_WRITTEN, client.alive)
            self._gate.open()
            await _within(_SPACING - _MAPS_WRITTEN, client.alive)
        finally:
            self._one_at_a_time.release()

    async def _end(self, client: Client) -> None:
        """Disconnect and stop a client, whatever it is doing; ``ending`` must be set."""
        await client.threaded.wait()
        # First the connection, so that WhatsApp queues what comes from now on, then what Go has acknowledged already.
        await self.call(self._library.disconnect, client)
        if client.is_in(Phase.STARTING):
            # It was connecting, and disconnecting waited for that: it fails now, or enters its loop only to stop.
            await _within(_SOON, client.returned, client.alive)
            if client.is_in(Phase.LINKING):  # it had not even begun to connect
                await self.call(self._library.disconnect, client)
        if client.is_in(Phase.RUNNING):
            await self._become_quiet(client)
        if client.is_in(Phase.RUNNING, Phase.RETURNED):
            async with self._one_at_a_time:
                await self._loop.run_in_executor(self._map_writers, self._stop, client)
            if not await _within(_RETURN, client.returned):
                logger.error("a client's thread did not return", extra={"session": client.handle})
        else:
            # Stop would take the client from under a thread that looks it up again when its QR codes end: a nil
            # dereference and the end of the process (upstream #201). Disconnected, it is left alone; the thread stays
            # until the engine is recycled.
            client.mute()
            logger.warning("a client that was never linked is abandoned", extra={"session": client.handle})

    def _forget(self, client: Client) -> None:
        """Make the handle free again; everything that came of the client is in the spool."""
        self._intake.withdraw(client.handle)
        self._live.pop(client.handle, None)
        client.ended.set()

    def _stop(self, client: Client) -> None:
        with self._gate.writing():
            self._library.stop(client.go_id)

    async def _become_quiet(self, client: Client) -> None:
        """Wait until Go has handed over all that it took, also what waits for the disk."""
        since = time.monotonic()
        while not (client.returned.is_set() or client.is_quiet(since)):  # noqa: ASYNC110 - a time, not an event
            await asyncio.sleep(_POLL)

    def _on_login(self, client: Client) -> None:
        self.on_login(client)

    def _on_return(self, client: Client, error: str, running: bool) -> None:  # noqa: FBT001 - a callback
        if not client.ending:
            client.ending = True
            self._spawn(self._bury(client, error, running=running))

    async def _bury(self, client: Client, error: str, *, running: bool) -> None:
        """Tell why a client ended by itself, and clear up after it."""
        code, payload = _obituary(error, running=running)
        logger.warning("a client ended by itself: %s", error, extra={"session": client.handle})
        await self._intake.spool_own(client.handle, code, payload)
        await self._end(client)
        self._forget(client)

    def _on_trouble(self, client: Client) -> None:
        if not client.ending:
            client.ending = True
            self._spawn(self._rescue(client))

    async def _rescue(self, client: Client) -> None:
        """End a client whose event cannot be spooled, before Go acknowledges more than its channel holds."""
        logger.error("a client is disconnected: its events cannot be spooled", extra={"session": client.handle})
        await self._end(client)
        ended = engine_pb2.ClientEnded(reason=engine_pb2.END_REASON_STORAGE_FULL)
        await self._intake.spool_own(client.handle, Code.CLIENT_ENDED, ended.SerializeToString())
        self._forget(client)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the host failed", exc_info=error)


def _obituary(error: str, *, running: bool) -> tuple[Code, bytes]:
    """The event that tells of a client's own end: (code, payload)."""
    if running:
        # Its event loop ended because an event could not be encoded: it tells which one.
        unencodable = _UNENCODABLE.search(error)
        recovered = _RECOVERED.get(unencodable[1]) if unencodable else None
        if recovered is not None:
            return recovered, b""
        reason = engine_pb2.END_REASON_UNSPECIFIED
    else:
        reason = start_failure(error)
    return Code.CLIENT_ENDED, engine_pb2.ClientEnded(reason=reason, detail=error).SerializeToString()


async def _within(seconds: float, *events: asyncio.Event) -> bool:
    """Wait until one of the events is set; False when none was in time."""
    if any(event.is_set() for event in events):
        return True
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    done, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    return bool(done)
