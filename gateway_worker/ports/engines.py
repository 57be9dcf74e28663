"""The engines: the processes that host WhatsApp clients, seen as one place where clients live.

Values are the messages of the engine contract, ``wagateway.engine.v1``: content crosses the core unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wagateway.engine.v1 import engine_pb2


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """What a client is started with.

    Attributes:
        handle: The session's handle.
        database_path: Its auth database.
        device_name: Name for the phone's list of devices.
        linked: Whether it is linked already. A client that is not goes to the disposable pairing engine.
    """

    handle: str
    database_path: Path
    device_name: str
    linked: bool


class EngineCallError(Exception):
    """An engine answered a command with a failure."""

    def __init__(self, failure: engine_pb2.Failure) -> None:
        self.failure = failure
        super().__init__(engine_pb2.FailureKind.Name(failure.kind))


class EngineGoneError(Exception):
    """The engine died, or never came up, before it answered: the command may or may not have been carried out."""


class EngineListener(Protocol):
    """Who is told what happens in engines."""

    async def on_events(self, spool_id: str, events: Sequence[engine_pb2.EngineEvent]) -> None:
        """Take spooled events, in order. Returning means they are on disk: the engine may forget them.

        Called again with the same events when it raised StoreUnavailableError, or after a crash of the worker. Must not
        wait for a call of Engines: that may wait for these very events.
        """
        ...

    def on_ephemeral(self, event: engine_pb2.EngineEvent) -> None:
        """Take an event that is not spooled."""
        ...

    def on_health(self, health: engine_pb2.EngineHealth) -> None:
        """Take an engine's report, every 2 s."""
        ...

    def on_clients_lost(self, handles: Sequence[str], *, planned: bool) -> None:
        """Clients are gone with their engine. Told at once; their last events may still follow.

        They may be started again at once, too: the start waits until their last events were delivered.
        ``planned``: the engine is being recycled.
        """
        ...

    async def spool_position(self, spool_id: str) -> int:
        """Last position of a spool that is on disk on the worker's side."""
        ...

    async def on_spool_gone(self, spool_id: str) -> None:
        """Forget a spool: its folder is gone and its id never comes back. May be called again for the same spool.

        Raises:
            StoreUnavailableError: Not forgotten; what stays behind is of no use and does no harm.
        """
        ...


class Engines(Protocol):
    """The clients in all engines."""

    async def recover_spools(self) -> None:
        """Deliver what the engines of a dead worker left in their spools. Comes before the first ``start``."""
        ...

    async def start(self, spec: ClientSpec) -> None:
        """Start a client, in an engine that has room; returns once it runs. What follows comes as events.

        A client that is linked and live in the pairing engine is moved by ``stop`` and ``start``.

        Raises:
            EngineGoneError: No engine could be had.
            EngineCallError: The engine refused.
        """
        ...

    async def stop(self, handle: str) -> None:
        """Stop a client; returns once all its events were delivered. Does nothing when it is not live."""
        ...

    async def send(self, command: engine_pb2.SendMessage) -> engine_pb2.Sent:
        """Send a message; returns once WhatsApp's server acknowledged it.

        Raises:
            EngineCallError: It was not acknowledged; the failure's kind tells what is known of its fate.
            EngineGoneError: The engine died on the way: its fate is open.
        """
        ...

    async def chat_presence(self, command: engine_pb2.SendChatPresence) -> None:
        """Show typing in a chat, or stop it. Raises EngineCallError, EngineGoneError."""
        ...

    async def presence(self, command: engine_pb2.SendPresence) -> None:
        """Come online or go offline. Raises EngineCallError, EngineGoneError."""
        ...

    async def logout(self, handle: str) -> None:
        """Unlink the device and stop its client. Raises EngineCallError, EngineGoneError."""
        ...

    async def pair_phone(self, command: engine_pb2.PairPhone) -> str:
        """Ask for a pairing code. Raises EngineCallError, EngineGoneError."""
        ...

    def is_live(self, handle: str) -> bool:
        """Whether a client runs under this handle."""
        ...

    def is_linking_engine(self, handle: str) -> bool:
        """Whether the client runs in the pairing engine, where it may not stay once it is linked."""
        ...
