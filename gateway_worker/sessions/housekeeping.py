"""Retention: what is too old leaves the journal."""

from __future__ import annotations

import asyncio
import logging

from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.ephemera import Clock
from gateway_worker.ports.journal import EventLog

logger = logging.getLogger(__name__)

_INTERVAL = 3600.0
_DAY = 86400.0


async def prune_regularly(log: EventLog, clock: Clock, retention_days: float) -> None:
    """Drop events older than the retention, now and every hour, until cancelled."""
    while True:
        try:
            dropped = await log.prune(clock.time() - retention_days * _DAY)
        except StoreUnavailableError:
            logger.warning("the journal could not be pruned; trying again in an hour")
        else:
            if dropped:
                logger.info("%d events older than %g days left the journal", dropped, retention_days)
        await asyncio.sleep(_INTERVAL)
