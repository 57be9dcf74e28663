"""Brings what dead engines left in their spools to the listener."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway_worker.adapters.engine.backoff import Backoff
from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.engine import Engine
from gateway_worker.adapters.engine.faults import log_fault
from gateway_worker.adapters.engine.spools import SpoolDirectory
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.engines import EngineCallError, EngineGoneError, EngineListener

logger = logging.getLogger(__name__)

_FORGET_ATTEMPTS = 3


class SpoolImporter:
    """Imports spools, one after the other, through fresh engines in which no client lives.

    Args:
        config: Times and attempts.
        spools: Where spools are.
        listener: Who takes the events.
        engine: Returns a fresh engine, reserved for one import. Raises EngineGoneError.
        release: Gives such an engine back.
        wait: Seconds until it makes sense to ask for an engine again.
    """

    def __init__(
        self,
        config: EngineConfig,
        spools: SpoolDirectory,
        listener: EngineListener,
        *,
        engine: Callable[[], Awaitable[Engine]],
        release: Callable[[Engine], None],
        wait: Callable[[], float],
    ) -> None:
        self._config = config
        self._spools = spools
        self._listener = listener
        self._engine = engine
        self._release = release
        self._wait = wait
        self._one_at_a_time = asyncio.Lock()

    async def recover(self) -> None:
        """Import every spool that a dead worker left."""
        for spool_id in self._spools.left_over():
            logger.info("spool %s was left by an earlier run", spool_id)
            await self.import_spool(spool_id)

    async def import_spool(self, spool_id: str) -> None:
        """Import a dead engine's spool.

        Returns when the listener took all of it and it is deleted, or when it had to be put aside.
        """
        if not self._spools.is_empty(spool_id):
            async with self._one_at_a_time:
                delivered = await self._deliver(spool_id)
            if not delivered:
                self._set_aside(spool_id)
                return
            logger.info("spool %s was imported", spool_id)
        await self.discard(spool_id)

    async def discard(self, spool_id: str) -> None:
        """Delete a spool of which the listener has every event, and let the listener forget it."""
        try:
            await asyncio.to_thread(self._spools.discard, spool_id)
        except OSError as error:  # it stays, and the next run goes on from the position that the listener has
            logger.error("spool %s cannot be deleted: %s", spool_id, error)  # noqa: TRY400 - the text says it all
            return
        backoff = self._redelivery_backoff()
        for _ in range(_FORGET_ATTEMPTS):
            try:
                await self._listener.on_spool_gone(spool_id)
            except StoreUnavailableError:
                await asyncio.sleep(backoff.next())
            except Exception as error:  # noqa: BLE001 - a fault in the listener must not keep clients from their sessions
                log_fault(f"spool {spool_id} was not forgotten", error)
                return
            else:
                return
        logger.warning("spool %s is gone, but the store could not forget it", spool_id)

    def _set_aside(self, spool_id: str) -> None:
        try:
            kept = self._spools.set_aside(spool_id)
        except OSError as error:
            logger.error("spool %s could not be imported, nor renamed: %s", spool_id, error)  # noqa: TRY400
        else:
            logger.error("spool %s could not be imported; it is kept as %s", spool_id, kept)

    async def _deliver(self, spool_id: str) -> bool:
        """Deliver a spool; False when one engine after the other refused it or died of it."""
        path = str(self._spools.path(spool_id))
        attempts = 0
        while attempts < self._config.import_attempts:
            try:
                engine = await self._engine()
            except EngineGoneError:  # says nothing about the spool
                await asyncio.sleep(max(self._wait(), self._config.restart_backoff))
                continue
            attempts += 1
            try:
                await engine.import_spool(spool_id, path, await self._position(spool_id))
            except EngineCallError as error:
                # Not final: the spool may still be locked by an engine that outlived its worker for a moment.
                logger.warning("spool %s is refused: %s", spool_id, error, extra={"detail": error.failure.detail})
                await asyncio.sleep(self._config.restart_backoff)
            except EngineGoneError:
                logger.warning("engine %s died while it imported spool %s", engine.engine_id, spool_id)
            else:
                return True
            finally:
                self._release(engine)
        return False

    async def _position(self, spool_id: str) -> int:
        """Last position that the listener has, once the store answers."""
        backoff = self._redelivery_backoff()
        while True:
            try:
                return await self._listener.spool_position(spool_id)
            except StoreUnavailableError:
                logger.warning("spool %s waits for the store", spool_id)
                await asyncio.sleep(backoff.next())

    def _redelivery_backoff(self) -> Backoff:
        return Backoff(self._config.redelivery_backoff, self._config.redelivery_backoff_max)
