"""Codes that link a session: offered by a client, kept while valid, shown to streams and to GetPairing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from gateway_worker.domain.errors import GatewayError, NotPairingError
from gateway_worker.domain.lifecycle import CodeOffered, State
from gateway_worker.ports.engines import EngineCallError, EngineGoneError, Engines
from gateway_worker.ports.ephemera import Clock, Code, CodeStore
from gateway_worker.sessions.actor import SessionActor
from gateway_worker.sessions.encode import pairing_message, timestamp
from gateway_worker.sessions.feed import EventFeed
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2, session_pb2

logger = logging.getLogger(__name__)

_LONGEST_WAIT = 20.0  # s that GetPairing waits for the first code
_PAIRING_CODE_VALIDITY = 160.0  # s: as long as the client library offers QR codes beside it


class PairingDesk:
    """Takes codes from engines and hands them to clients.

    Args:
        codes: Where they are kept.
        engines: Makes pairing codes.
        feed: Shows them.
        clock: Says what is still valid.
        spawn: Starts a task that the gateway owns.
    """

    def __init__(
        self,
        *,
        codes: CodeStore,
        engines: Engines,
        feed: EventFeed,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._codes = codes
        self._engines = engines
        self._feed = feed
        self._clock = clock
        self._spawn = spawn

    def offer(self, actor: SessionActor, code: Code) -> None:
        """Take a QR code that a client offers; where a pairing code was asked for, it says that now is the time."""
        self._spawn(self._take(actor, code), f"pairing {actor.key.handle}")

    async def _take(self, actor: SessionActor, code: Code) -> None:
        try:
            if actor.pairing_phone_number:
                held = await self._codes.get(actor.key)
                if held is not None and held.pairing_code:
                    return  # it stays valid while further QR codes follow
                code = await self._pairing_code(actor)
            await self._codes.put(actor.key, code)
            await actor.transition(CodeOffered())
        except (EngineCallError, EngineGoneError, GatewayError) as error:
            logger.warning("session %s: no code could be offered: %s", actor.key.session, type(error).__name__)
            return
        pairing = await asyncio.get_running_loop().run_in_executor(None, pairing_message, code)
        event = event_pb2.Event(
            session_id=actor.key.session,
            time=timestamp(self._clock.time()),
            pairing=event_pb2.PairingOffered(pairing=pairing),
        )
        self._feed.show(actor.key, event)

    async def _pairing_code(self, actor: SessionActor) -> Code:
        command = engine_pb2.PairPhone(handle=actor.key.handle, phone_number=actor.pairing_phone_number)
        text = await self._engines.pair_phone(command)
        return Code(qr="", pairing_code=text, expires_at=self._clock.time() + _PAIRING_CODE_VALIDITY)

    async def current(self, actor: SessionActor) -> session_pb2.Pairing | None:
        """The code that is valid now."""
        code = await self._codes.get(actor.key)
        if code is None or actor.lifecycle.state is not State.PAIRING:
            return None
        return await asyncio.get_running_loop().run_in_executor(None, pairing_message, code)

    async def wait(self, actor: SessionActor, time_left: float | None) -> session_pb2.Pairing:
        """The code that is valid now, or the first one of a session that is on its way to one.

        Raises:
            NotPairingError: The session is not linking, or no code came in time.
        """
        patience = _LONGEST_WAIT if time_left is None else min(_LONGEST_WAIT, time_left * 0.9)
        try:
            async with asyncio.timeout(patience):
                while not actor.lifecycle.linked and actor.lifecycle.state in (State.CONNECTING, State.PAIRING):
                    if (pairing := await self.current(actor)) is not None:
                        return pairing
                    await actor.changed()
        except TimeoutError:
            pass
        raise NotPairingError
