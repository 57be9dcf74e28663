"""What holds for every send, wherever it is stored: how its status advances and how long it is remembered."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

IDEMPOTENCY_PERIOD: Final = 7 * 86400.0
"""Seconds for which a send and its idempotency key are remembered."""

EARLY_RECEIPT_PERIOD: Final = 86400.0
"""Seconds for which a receipt waits for a send that it belongs to."""


class MessageStatus(IntEnum):
    """How far a sent message got; the numbers are those of ``wagateway.worker.v1.MessageStatus``."""

    PENDING = 1
    SERVER_ACK = 2
    DELIVERED = 3
    READ = 4
    PLAYED = 5
    FAILED = 6


def advances(current: int, following: int) -> bool:
    """Whether news of ``following`` changes a message whose status is ``current``.

    Receipts come late, twice and in any order, so a status only goes up. FAILED is not above the others: it ends a
    message that WhatsApp is not known to have, and nothing follows it.
    """
    if current == MessageStatus.FAILED:
        return False
    if following == MessageStatus.FAILED:
        return current == MessageStatus.PENDING
    return following > current
