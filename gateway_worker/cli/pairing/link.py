"""Linking a session: which calls to make, and what the events that follow mean."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import Final, Protocol

import grpc
from grpc import aio

from gateway_worker.cli.channels import CALL_TIMEOUT, worker_api
from gateway_worker.cli.exits import NotLinkedError, UnreachableError
from gateway_worker.cli.following import read
from gateway_worker.cli.wording import clock, reason_words, state_words
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2, worker_pb2_grpc

_KINDS: Final = (
    event_pb2.EVENT_KIND_SNAPSHOT,
    event_pb2.EVENT_KIND_SESSION_STATE,
    event_pb2.EVENT_KIND_PAIRING,
    event_pb2.EVENT_KIND_PAIRED,
    event_pb2.EVENT_KIND_DELETED,
)

_ENDS: Final = frozenset(
    {
        session_pb2.SESSION_STATE_DISCONNECTED,
        session_pb2.SESSION_STATE_LOGGED_OUT,
        session_pb2.SESSION_STATE_BANNED,
        session_pb2.SESSION_STATE_REPLACED,
        session_pb2.SESSION_STATE_FAILED,
    }
)
"""States that a session does not leave by itself: linking has ended without a link."""

_UNDER_WAY: Final = frozenset({session_pb2.SESSION_STATE_CONNECTING, session_pb2.SESSION_STATE_PAIRING})
"""States in which a session that is not linked already asks for a code, or offers one."""

_HINTS: Final[dict[int, str]] = {
    session_pb2.STATE_REASON_PAIRING_TIMED_OUT: "run the command again and scan sooner",
    session_pb2.STATE_REASON_MULTIDEVICE_DISABLED: "update WhatsApp on the phone, then run the command again",
    session_pb2.STATE_REASON_PASSKEY_REQUIRED: "remove the passkey from the account, or use another account",
    session_pb2.STATE_REASON_PAIRING_REFUSED: "look at the phone for the reason, then run the command again",
}

_TICK: Final = 1.0
"""Seconds between looks at the clock, by which a view counts down."""


class PairingView(Protocol):
    """What is shown while a session is being linked."""

    def offer(self, pairing: session_pb2.Pairing) -> None:
        """Show the code that is valid now; it takes the place of the one before."""
        ...

    def withdraw(self) -> None:
        """Take the code away: it was used, or is no longer valid."""
        ...

    def progress(self, text: str) -> None:
        """Say how far linking got."""
        ...

    def tick(self) -> None:
        """Show that time goes by."""
        ...


async def link(target: str, session: str, *, phone: str, create: bool, view: PairingView) -> session_pb2.Session:
    """Link a session to a phone, and see it connected.

    A session that is linked already is only connected.

    Args:
        target: The worker's address.
        session: The session's id.
        phone: Number of the account, to link by a code typed on the phone; empty to link by QR code.
        create: Make the session if there is none with this id.
        view: What is shown meanwhile.

    Returns:
        The session, linked and connected.

    Raises:
        NotLinkedError: Linking ended without a link.
        UnreachableError: The worker cannot be reached, or went away.
        AioRpcError: The worker refused a call.
    """
    async with worker_api(target) as api:
        if create:
            await _create(api, session)
        await _stop_other_way(api, session, phone)
        request = worker_pb2.SessionEventsRequest(
            session_ids=[session], kinds=_KINDS, position=worker_pb2.START_POSITION_NOW
        )
        async with AsyncExitStack() as stack:
            responses = await stack.enter_async_context(aclosing(read(target, request)))
            ticking = asyncio.create_task(_tick(view), name="pairing clock")
            stack.callback(ticking.cancel)
            connecting = False
            async for response in responses:
                if response.HasField("heartbeat"):
                    continue
                if connecting:
                    if _linked(response.event, view):
                        break
                    continue
                # The stream is open: from here on no code can be missed.
                connecting = True
                await api.ConnectSession(
                    worker_pb2.ConnectSessionRequest(session_id=session, pairing_phone_number=phone),
                    timeout=CALL_TIMEOUT,
                )
                if _begun(response.event, view):
                    break
            else:
                raise UnreachableError("the worker ended the stream of events", hint="run the command again")
        found = await api.GetSession(worker_pb2.GetSessionRequest(session_id=session), timeout=CALL_TIMEOUT)
    return found.session


async def _create(api: worker_pb2_grpc.WorkerServiceAsyncStub, session: str) -> None:
    """Make the card unless it exists."""
    try:
        await api.CreateSession(worker_pb2.CreateSessionRequest(session_id=session), timeout=CALL_TIMEOUT)
    except aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


async def _stop_other_way(api: worker_pb2_grpc.WorkerServiceAsyncStub, session: str, phone: str) -> None:
    """End an offer of the other kind of code: connecting a session that is on its way would change nothing."""
    found = (await api.GetSession(worker_pb2.GetSessionRequest(session_id=session), timeout=CALL_TIMEOUT)).session
    if found.HasField("account") or found.status.state not in _UNDER_WAY:
        return
    # A pairing code is for one number, which the worker does not tell: a new one is asked for in any case.
    if phone or await _offers_pairing_code(api, session):
        await api.DisconnectSession(worker_pb2.DisconnectSessionRequest(session_id=session), timeout=CALL_TIMEOUT)


async def _offers_pairing_code(api: worker_pb2_grpc.WorkerServiceAsyncStub, session: str) -> bool:
    """Say whether a session that is being linked offers a pairing code now."""
    try:
        response = await api.GetPairing(worker_pb2.GetPairingRequest(session_id=session), timeout=CALL_TIMEOUT)
    except aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        return False  # no code at all: linking has just ended, or succeeded
    return response.pairing.WhichOneof("code") == "pairing_code"


def _begun(event: event_pb2.Event, view: PairingView) -> bool:
    """Take the first event, which says how things stand; True when the session is linked and connected already."""
    snapshot = event.snapshot
    if snapshot.HasField("pairing"):
        view.offer(snapshot.pairing)
    elif snapshot.session.HasField("account"):
        view.progress(f"already linked to {snapshot.session.account.phone_number}")
    else:
        view.progress("asking WhatsApp for a code")
    return snapshot.session.status.state == session_pb2.SESSION_STATE_CONNECTED


def _linked(event: event_pb2.Event, view: PairingView) -> bool:
    """Take an event; True when the session is linked and connected. Raises NotLinkedError."""
    match event.WhichOneof("kind"):
        case "pairing" if event.pairing.HasField("pairing"):
            view.offer(event.pairing.pairing)
        case "pairing":
            view.withdraw()
        case "paired":
            view.withdraw()
            view.progress(f"linked to {event.paired.account.phone_number or event.paired.account.jid}; logging in")
        case "deleted":
            raise NotLinkedError("the session was deleted meanwhile")
        case "session_state":
            status = event.session_state.status
            if status.state in _ENDS:
                view.withdraw()
                raise _not_linked(status)
            if status.state == session_pb2.SESSION_STATE_CONNECTED:
                view.withdraw()
                return True
            view.progress(f"{state_words(status.state)}: {reason_words(status.reason) or 'one moment'}")
        case _:
            pass  # kinds that were not asked for
    return False


def _not_linked(status: session_pb2.SessionStatus) -> NotLinkedError:
    """Return the error for a session that ended up in a state without a link."""
    until = f" until {clock(status.banned_until)}" if status.HasField("banned_until") else ""
    reason = reason_words(status.reason)
    return NotLinkedError(
        f"the session is not linked: {state_words(status.state)}{until}{f', {reason}' if reason else ''}",
        hint=_HINTS.get(status.reason, ""),
    )


async def _tick(view: PairingView) -> None:
    """Let the view count down."""
    while True:
        await asyncio.sleep(_TICK)
        view.tick()
