"""Commits of what has already happened: they are tried until the database takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.journal import Journal, Operation
from gateway_worker.ports.records import StoredEvent

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


async def commit_until_stored(journal: Journal, operations: Sequence[Operation]) -> list[StoredEvent]:
    """Commit facts, such as WhatsApp's ack or an engine's events: while the database is away they wait, unforgotten."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return await journal.commit(operations)
        except StoreUnavailableError:
            logger.warning("the database does not take %d operations; trying again in %.1f s", len(operations), pause)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
