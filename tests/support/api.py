"""What tests and benchmarks do with the gRPC API of a worker and with the control API of a simulator."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import grpc

from wagateway.simulator.v1 import simulator_pb2, simulator_pb2_grpc
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2, worker_pb2_grpc

PATIENCE: Final = 30.0
"""Seconds that an event is waited for unless a caller says otherwise."""

CONNECTED: Final = session_pb2.SESSION_STATE_CONNECTED

# Quoted: these classes exist for the type checker only.
WorkerApi: TypeAlias = "worker_pb2_grpc.WorkerServiceAsyncStub"
SimulatorControl: TypeAlias = "simulator_pb2_grpc.SimulatorServiceAsyncStub"

_UNBOUNDED: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


@contextlib.asynccontextmanager
async def worker_api(target: str, *, own_connection: bool = False) -> AsyncIterator[WorkerApi]:
    """Connect to a worker's API.

    Args:
        target: Its address.
        own_connection: Whether to share no connection with other channels of this process, and to keep its window
            small: what one stream leaves unread fills the window of its whole connection.
    """
    options = _UNBOUNDED
    if own_connection:
        options = (*options, ("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield worker_pb2_grpc.WorkerServiceStub(channel)


@contextlib.asynccontextmanager
async def simulator_control(target: str) -> AsyncIterator[SimulatorControl]:
    """Connect to a simulator's control API."""
    async with grpc.aio.insecure_channel(target, options=_UNBOUNDED) as channel:
        yield simulator_pb2_grpc.SimulatorServiceStub(channel)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as it reached a client.

    Attributes:
        event: The event.
        time_ns: When it was read off the stream, Unix nanoseconds.
    """

    event: event_pb2.Event
    time_ns: int


def state_of(event: event_pb2.Event) -> session_pb2.SessionState.ValueType:
    """The state that an event tells; SESSION_STATE_UNSPECIFIED when it tells none."""
    match event.WhichOneof("kind"):
        case "session_state":
            return event.session_state.status.state
        case "snapshot":
            return event.snapshot.session.status.state
        case _:
            return session_pb2.SESSION_STATE_UNSPECIFIED


class EventFollower:
    """Reads a SessionEvents stream to its end and keeps what came; an async context manager.

    Args:
        api: The worker.
        request: What to ask for; None: everything, from the earliest event kept.

    Attributes:
        arrivals: Everything that came, oldest first.
        heartbeats: Heartbeats that came.
    """

    def __init__(self, api: WorkerApi, request: worker_pb2.SessionEventsRequest | None = None) -> None:
        earliest = worker_pb2.SessionEventsRequest(position=worker_pb2.START_POSITION_EARLIEST)
        self.arrivals: list[Arrival] = []
        self.heartbeats: list[worker_pb2.Heartbeat] = []
        self._api = api
        self._request = earliest if request is None else request
        self._waiting: list[tuple[Callable[[event_pb2.Event], bool], asyncio.Future[event_pb2.Event]]] = []
        self._task: asyncio.Task[None] | None = None
        self._end: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read(), name="event follower")
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        end: BaseException = EOFError("the event stream has ended")
        try:
            async for response in self._api.SessionEvents(self._request):
                if response.WhichOneof("what") == "event":
                    self._take(response.event)
                else:
                    self.heartbeats.append(response.heartbeat)
        except grpc.aio.AioRpcError as error:
            end = error
        finally:
            self._end = end
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(end)

    def _take(self, event: event_pb2.Event) -> None:
        self.arrivals.append(Arrival(event, time.time_ns()))
        for matches, future in self._waiting:
            if not future.done() and matches(event):
                future.set_result(event)

    @property
    def mark(self) -> int:
        """How much has come: hand it to a wait as ``since`` to look at later events only."""
        return len(self.arrivals)

    @property
    def cursor(self) -> str:
        """Cursor of the newest durable event that came; empty: none did."""
        return next((arrival.event.cursor for arrival in reversed(self.arrivals) if arrival.event.cursor), "")

    def events(self, session_id: str = "", kind: str = "", *, since: int = 0) -> list[event_pb2.Event]:
        """Events that came.

        Args:
            session_id: Only this session's; empty: all.
            kind: Only events whose ``kind`` has this name, for example ``message``; empty: all.
            since: A :attr:`mark`.
        """
        return [
            arrival.event
            for arrival in self.arrivals[since:]
            if session_id in {"", arrival.event.session_id} and kind in {"", arrival.event.WhichOneof("kind")}
        ]

    async def wait_for(
        self, matches: Callable[[event_pb2.Event], bool], *, since: int = 0, patience: float = PATIENCE
    ) -> event_pb2.Event:
        """Wait for the first event that matches; one that came already counts.

        Args:
            matches: Whether an event is the one.
            since: A :attr:`mark`.
            patience: Seconds to wait at most.

        Raises:
            TimeoutError: It did not come; the text names the kinds that did.
            grpc.aio.AioRpcError: The stream ended with an error.
            EOFError: The stream ended.
        """
        for arrival in self.arrivals[since:]:
            if matches(arrival.event):
                return arrival.event
        if self._end is not None:
            raise self._end
        future: asyncio.Future[event_pb2.Event] = asyncio.get_running_loop().create_future()
        waiter = (matches, future)
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise TimeoutError(f"no such event within {patience:g} s, but {self._told(since)}") from None
        finally:
            self._waiting.remove(waiter)

    def _told(self, since: int) -> str:
        told = [f"{event.session_id}: {_describe(event)}" for event in self.events(since=since)]
        return "; ".join(told[-20:]) or "none at all"

    async def wait_state(
        self,
        session_id: str,
        state: session_pb2.SessionState.ValueType,
        *,
        since: int = 0,
        patience: float = PATIENCE,
    ) -> event_pb2.Event:
        """Wait until a session's state is told to be this one, by a change or by a snapshot. Raises as wait_for."""
        return await self.wait_for(
            lambda event: event.session_id == session_id and state_of(event) == state, since=since, patience=patience
        )

    async def wait_all_connected(
        self, session_ids: Iterable[str], *, since: int = 0, patience: float = PATIENCE
    ) -> None:
        """Wait until each of the sessions was told to be connected. Raises as wait_for."""
        await asyncio.gather(
            *(self.wait_state(session_id, CONNECTED, since=since, patience=patience) for session_id in session_ids)
        )

    async def wait_ended(self, patience: float = PATIENCE) -> grpc.aio.AioRpcError | None:
        """Wait until the worker ends the stream; returns the error that it ended with, None for OK.

        Raises:
            TimeoutError: It goes on.
        """
        if self._task is None:
            raise RuntimeError("the follower has not been started")
        async with asyncio.timeout(patience):
            await asyncio.wait([self._task])
        return self._end if isinstance(self._end, grpc.aio.AioRpcError) else None


def _describe(event: event_pb2.Event) -> str:
    state = state_of(event)
    return session_pb2.SessionState.Name(state) if state else str(event.WhichOneof("kind"))


@dataclass(frozen=True, slots=True)
class LinkedSession:
    """A session that is linked to a simulated phone.

    Attributes:
        session_id: Its id.
        number: The phone's number in international digits.
        jid: JID of the linked device.
    """

    session_id: str
    number: str
    jid: str


async def link_session(
    api: WorkerApi, control: SimulatorControl, events: EventFollower, session_id: str, *, number: str = ""
) -> LinkedSession:
    """Create a session, link it to a new phone by QR code, and see it connected.

    Args:
        api: The worker.
        control: The simulator.
        events: Follows the worker's events.
        session_id: Id of the new session.
        number: Number of the new phone; empty: the next free one.
    """
    phone = (await control.AddPhone(simulator_pb2.AddPhoneRequest(number=number))).phone
    await api.CreateSession(worker_pb2.CreateSessionRequest(session_id=session_id))
    return await relink_session(api, control, events, session_id, number=phone.number)


async def relink_session(
    api: WorkerApi, control: SimulatorControl, events: EventFollower, session_id: str, *, number: str
) -> LinkedSession:
    """Link a session that exists to a phone that exists, and see it connected."""
    since = events.mark
    await api.ConnectSession(worker_pb2.ConnectSessionRequest(session_id=session_id))
    pairing = (await api.GetPairing(worker_pb2.GetPairingRequest(session_id=session_id))).pairing
    scanned = await control.ScanCode(simulator_pb2.ScanCodeRequest(number=number, code=pairing.qr))
    await events.wait_state(session_id, CONNECTED, since=since)
    return LinkedSession(session_id, number, scanned.jid)


async def send_text(api: WorkerApi, session_id: str, to: str, text: str) -> worker_pb2.SentMessage:
    """Send a text; returns the message once WhatsApp's server acknowledged it."""
    content = worker_pb2.SendTextRequest(session_id=session_id, to=to)
    content.text.text = text
    return (await api.SendText(content)).message
