"""One session: its life cycle, and the client that follows it.

Signals change the life cycle at once, in memory, and yield the operations that make the change durable; whoever
signals commits them, together with what else belongs into the same transaction. The actor's own task then brings the
client in line with what the life cycle wants: it starts, stops, moves and retries.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace

from gateway_worker.domain.errors import GatewayError
from gateway_worker.domain.ids import SessionKey
from gateway_worker.domain.lifecycle import (
    BanEnded,
    ConnectionLost,
    ConnectRequested,
    Lifecycle,
    LoggedIn,
    Reason,
    Signal,
    State,
    advance,
)
from gateway_worker.ports.auth import AuthStates
from gateway_worker.ports.engines import ClientSpec, EngineCallError, EngineGoneError, Engines
from gateway_worker.ports.ephemera import Clock, CodeStore
from gateway_worker.ports.journal import Journal, Operation, SaveSession
from gateway_worker.ports.records import Account, SessionRecord
from gateway_worker.sessions.encode import state_event
from gateway_worker.sessions.pacing import reconnect_delay
from gateway_worker.sessions.sending import Sender, SendTools
from gateway_worker.sessions.states import refusal

logger = logging.getLogger(__name__)

DEFAULT_DEVICE_NAME = "Gateway"
DEFAULT_REGION = "ID"
_ENGINE_PATIENCE = 10.0  # s that a send waits for its session's engine to come back, its deadline permitting
_SETTLING = 0.3  # s that a freshly linked client is left alone before it moves out of the pairing engine
_AFTER_DEFECT = 1.0  # s before a step that failed unexpectedly is tried again
_STUCK = 90.0  # s after which a live client that does not get connected is started anew
_HEALTH_DOUBTS = 2  # reports in a row that contradict the life cycle before it is corrected


@dataclass(frozen=True, slots=True)
class Tools:
    """What every actor works with."""

    journal: Journal
    engines: Engines
    auth: AuthStates
    codes: CodeStore
    clock: Clock


class SessionActor:
    """A session of this worker.

    Args:
        record: The card as it is in the database, or about to be.
        tools: What it works with.
        send_tools: What its messages are sent with.
    """

    def __init__(self, record: SessionRecord, tools: Tools, send_tools: SendTools) -> None:
        self.record = record
        self.sender = Sender(self, send_tools)
        self.pairing_phone_number = ""
        self._tools = tools
        self._wake = asyncio.Event()
        self._changed: asyncio.Future[None] | None = None
        self._attempt = 0
        self._client_ended = False
        self._started_at = 0.0
        self._move_at: float | None = None
        self._doubts = 0

    @property
    def key(self) -> SessionKey:
        """Tenant and id."""
        return self.record.key

    @property
    def region(self) -> str:
        """Region of local numbers."""
        return self.record.default_region or DEFAULT_REGION

    @property
    def generation(self) -> int:
        """Generation of the auth database in use."""
        return self.record.generation

    @property
    def lifecycle(self) -> Lifecycle:
        """Where the session is."""
        return self.record.lifecycle

    def signal(self, signal: Signal, *, account: Account | None = None) -> list[Operation]:
        """Apply a signal and return the operations to commit; empty when it changes nothing.

        Args:
            signal: What happened.
            account: The account as now known, where the signal tells of one.
        """
        before = self.record
        lifecycle = advance(before.lifecycle, signal)
        if not lifecycle.linked:
            account = None
        elif account is None:
            account = before.account
        if lifecycle == before.lifecycle and account == before.account:
            return []
        linking = isinstance(signal, ConnectRequested) and not lifecycle.linked
        moved = (lifecycle.state, lifecycle.reason) != (before.lifecycle.state, before.lifecycle.reason)
        now = self._tools.clock.time()
        self.record = replace(
            before,
            lifecycle=lifecycle,
            account=account,
            since=now if moved else before.since,
            version=before.version + 1,
            generation=before.generation + linking,
        )
        event = None
        if moved:
            event = state_event(self.record, before.lifecycle.state, now)
            logger.info("session %s: %s (%s)", self.key.session, lifecycle.state.name, lifecycle.reason.name)
        if lifecycle.state is State.CONNECTED:
            self._attempt = 0
            self._doubts = 0
        return [SaveSession(self.record, event)]

    async def transition(self, signal: Signal) -> None:
        """Apply a signal on its own and make it durable, then let the client follow.

        Raises:
            StoreUnavailableError: The signal was taken back.
        """
        before = self.record
        operations = self.signal(signal)
        if operations:
            after = self.record
            try:
                await self._tools.journal.commit(operations)
            except GatewayError:
                if self.record is after:
                    self.record = before
                raise
        self.nudge()

    async def update(self, record: SessionRecord) -> None:
        """Replace labels and settings by those of ``record``. Raises StoreUnavailableError, changing nothing."""
        before = self.record
        self.record = replace(record, version=before.version + 1)
        try:
            await self._tools.journal.commit([SaveSession(self.record)])
        except GatewayError:
            self.record = before
            raise

    def nudge(self) -> None:
        """Let the client follow the life cycle, and tell who waits for a change."""
        self._wake.set()
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def changed(self) -> None:
        """Wait for the next change."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def client_ended(self) -> None:
        """The client ended by itself: it must be started anew."""
        self._client_ended = True

    def client_lost(self, *, planned: bool) -> list[Operation]:
        """The engine is gone with the client in it. A planned replacement is not held against the session."""
        self._client_ended = False
        self._move_at = None
        if planned:
            self._attempt = 0
        return self.signal(ConnectionLost(Reason.ENGINE_LOST))

    def move_out_of_linking(self) -> None:
        """The client linked and logged in: it may not stay in the pairing engine."""
        self._move_at = asyncio.get_running_loop().time() + _SETTLING

    def check_health(self, *, logged_in: bool) -> list[Operation]:
        """Hold the life cycle against what the engine sees of the socket; two reports in a row count."""
        connected = self.lifecycle.state is State.CONNECTED
        watched = self.lifecycle.linked and self.lifecycle.needs_client and self._move_at is None
        if not watched or self._tools.engines.is_linking_engine(self.key.handle):
            self._doubts = 0
            return []
        if logged_in == connected:
            self._doubts = 0
            if not connected:
                self._restart_if_stuck()
            return []
        self._doubts += 1
        if self._doubts < _HEALTH_DOUBTS:
            return []
        self._doubts = 0
        if connected:
            return self.signal(ConnectionLost())
        # A socket that is open but does not answer pings is no evidence.
        return [] if self.lifecycle.reason is Reason.KEEPALIVE_TIMED_OUT else self.signal(LoggedIn())

    def _restart_if_stuck(self) -> None:
        """A client that is live but does not get connected for long is started anew."""
        now = asyncio.get_running_loop().time()
        if now - self._started_at > _STUCK:
            logger.warning("session %s: its client does not get connected; starting it anew", self.key.session)
            self._started_at = now
            self._client_ended = True
            self._wake.set()

    async def settled(self) -> None:
        """Wait until no client is live any more, or one is wanted again."""
        while self._tools.engines.is_live(self.key.handle) and not self.lifecycle.needs_client:
            await self.changed()

    async def wait_until_connected(self, time_left: float | None) -> None:
        """Return once connected; raise what fits the state when that will not be soon.

        Only a session whose engine is being replaced is worth waiting for: it is back within seconds.
        """
        if self.lifecycle.state is not State.CONNECTED and self.lifecycle.reason is Reason.ENGINE_LOST:
            patience = _ENGINE_PATIENCE if time_left is None else min(_ENGINE_PATIENCE, time_left / 2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while self.lifecycle.state is State.RECONNECTING:
                        await self.changed()
        if self.lifecycle.state is not State.CONNECTED:
            raise refusal(self.lifecycle)

    async def run(self) -> None:
        """Keep the client in line with the life cycle until cancelled."""
        while True:
            wait = self._next_timer()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._follow()
            except (EngineGoneError, EngineCallError) as error:
                logger.warning("session %s: its client could not be started: %s", self.key.session, error)
                self._client_ended = True
                await self._pause()
                self._wake.set()
            except GatewayError as error:
                logger.warning("session %s: %s", self.key.session, error.reason)
                await self._pause()
                self._wake.set()
            except Exception:
                # A defect: it must not leave the session unattended until the worker restarts.
                logger.exception("session %s: its client could not follow; trying again", self.key.session)
                await asyncio.sleep(_AFTER_DEFECT)
                self._wake.set()

    def _next_timer(self) -> float | None:
        """Seconds until something is due without a signal; None when nothing is."""
        due = []
        if self._move_at is not None:
            due.append(self._move_at - asyncio.get_running_loop().time())
        if self.lifecycle.state is State.BANNED and self.lifecycle.banned_until is not None:
            due.append(self.lifecycle.banned_until - self._tools.clock.time())
        return max(0.0, min(due)) if due else None

    async def _follow(self) -> None:
        """One step towards what the life cycle wants."""
        handle, engines = self.key.handle, self._tools.engines
        ban_end = self.lifecycle.banned_until
        if self.lifecycle.state is State.BANNED and ban_end is not None and ban_end <= self._tools.clock.time():
            await self.transition(BanEnded())
        if not self.lifecycle.needs_client:
            await self._stop()
            return
        if self._move_at is not None and self._move_at <= asyncio.get_running_loop().time():
            self._move_at = None
            self._attempt = 0
            await engines.stop(handle)
        if self._client_ended:
            self._client_ended = False
            await engines.stop(handle)
        if not engines.is_live(handle):
            await self._pause()
            await self._start()

    async def _start(self) -> None:
        record = self.record
        if not record.lifecycle.needs_client or self._tools.engines.is_live(self.key.handle):
            return  # things changed during the pause
        self._attempt += 1
        self._started_at = asyncio.get_running_loop().time()
        path = await self._tools.auth.prepare(self.key, record.generation)
        await self._tools.engines.start(
            ClientSpec(
                handle=self.key.handle,
                database_path=path,
                device_name=record.device_name or DEFAULT_DEVICE_NAME,
                linked=record.lifecycle.linked,
            )
        )

    async def _stop(self) -> None:
        self._move_at = None
        self._client_ended = False
        self._attempt = 0
        await self._tools.engines.stop(self.key.handle)
        await self._tools.codes.drop(self.key)
        if not self.lifecycle.linked and self.record.generation:
            await self._tools.auth.discard(self.key, self.record.generation)
        self._tell_waiters()

    async def _pause(self) -> None:
        """Wait before the next attempt; a change of the life cycle ends the wait when no client is wanted any more."""
        delay = reconnect_delay(self._attempt)
        if not delay:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                while self.lifecycle.needs_client:
                    await self.changed()
