"""Engines without processes, for what the core does when engines answer late, die or refuse."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from gateway_worker.ports.engines import ClientSpec, EngineCallError, EngineGoneError, EngineListener
from gateway_worker.sessions.encode import timestamp
from wagateway.engine.v1 import engine_pb2

SPOOL = "fake-spool"


class FakeEngines:
    """One engine for all clients; implements :class:`gateway_worker.ports.engines.Engines`.

    Attributes:
        started: Specs of the clients started, in order.
        sent: Messages that reached the "wire", in order.
        typed: Chat presences, in order.
        hold: Sends wait for it.
        outcome: What happens to a send instead of an ack: an exception is raised.
        log_in: Clients that are linked report their login by themselves.
    """

    def __init__(self, listener: EngineListener) -> None:
        self.listener = listener
        self.live: dict[str, ClientSpec] = {}
        self.started: list[ClientSpec] = []
        self.stopped: list[str] = []
        self.sent: list[engine_pb2.SendMessage] = []
        self.typed: list[engine_pb2.SendChatPresence] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.outcome: Callable[[engine_pb2.SendMessage], Exception | None] = lambda _: None
        self.log_in = True
        self.start_fails: list[Exception] = []
        self.linking: set[str] = set()
        self._positions = itertools.count(1)
        self._ids = itertools.count(1)

    async def recover_spools(self) -> None:
        """There are none."""

    async def start(self, spec: ClientSpec) -> None:
        """Start a client."""
        if self.start_fails:
            raise self.start_fails.pop(0)
        assert spec.handle not in self.live, "started twice"
        self.live[spec.handle] = spec
        self.started.append(spec)
        if not spec.linked:
            self.linking.add(spec.handle)
        elif self.log_in:
            await self.tell(spec.handle, logged_in=engine_pb2.LoggedIn(jid="6281200000001:3@s.whatsapp.net"))

    async def stop(self, handle: str) -> None:
        """Stop a client."""
        if self.live.pop(handle, None) is not None:
            self.stopped.append(handle)
        self.linking.discard(handle)

    async def send(self, command: engine_pb2.SendMessage) -> engine_pb2.Sent:
        """Send, unless told otherwise."""
        if command.handle not in self.live:
            raise EngineCallError(engine_pb2.Failure(kind=engine_pb2.FAILURE_KIND_NOT_LIVE))
        copy = engine_pb2.SendMessage()
        copy.CopyFrom(command)
        self.sent.append(copy)
        await self.hold.wait()
        if (error := self.outcome(command)) is not None:
            raise error
        return engine_pb2.Sent(message_id=f"ID{next(self._ids)}", time=timestamp(1_700_000_000.0))

    async def chat_presence(self, command: engine_pb2.SendChatPresence) -> None:
        """Note what was shown."""
        copy = engine_pb2.SendChatPresence()
        copy.CopyFrom(command)
        self.typed.append(copy)

    async def presence(self, command: engine_pb2.SendPresence) -> None:
        """Accept."""

    async def logout(self, handle: str) -> None:
        """Unlink."""
        await self.stop(handle)

    async def pair_phone(self, command: engine_pb2.PairPhone) -> str:
        """A code."""
        return "ABCD-EFGH"

    def is_live(self, handle: str) -> bool:
        """Whether a client runs."""
        return handle in self.live

    def is_linking_engine(self, handle: str) -> bool:
        """Whether it was started unlinked."""
        return handle in self.linking

    # What a test lets happen ----------------------------------------------------------------------------------------

    async def tell(self, handle: str, **kind: object) -> None:
        """Report one spooled event of a client."""
        event = engine_pb2.EngineEvent(position=next(self._positions), handle=handle, time=timestamp(1_700_000_000.0))
        for name, value in kind.items():
            getattr(event, name).CopyFrom(value)
        await self.listener.on_events(SPOOL, [event])

    def offer(self, handle: str, code: str, valid_seconds: int = 60, *, at: float) -> None:
        """Offer a QR code."""
        event = engine_pb2.EngineEvent(handle=handle, time=timestamp(at))
        event.qr.CopyFrom(engine_pb2.QrOffered(code=code, valid_seconds=valid_seconds))
        self.listener.on_ephemeral(event)

    def die(self, *, planned: bool = False) -> None:
        """Lose all clients."""
        handles = list(self.live)
        self.live.clear()
        self.linking.clear()
        self.listener.on_clients_lost(handles, planned=planned)


GONE = EngineGoneError()


def failure(kind: engine_pb2.FailureKind.ValueType, server_code: int = 0) -> EngineCallError:
    """An engine's failure."""
    return EngineCallError(engine_pb2.Failure(kind=kind, server_code=server_code))
