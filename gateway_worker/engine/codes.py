"""Codes of the kinds of events: neonize's own, and the engine's for what neonize does not tell by an event.

neonize's are read in its ``events.py`` (0.5.2). They are stored in spools, so no number may ever change its meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """Kinds of events that this engine knows what to do with; the rest it passes on as they are."""

    DEVICE = 0
    """Who the client is; told once by neonize when its event loop begins. Never spooled."""
    PAIR_STATUS = 2
    CONNECTED = 3
    """Logged in. Spooled with the payload of DEVICE, which tells more than neonize's own."""
    KEEPALIVE_TIMEOUT = 4
    KEEPALIVE_RESTORED = 5
    LOGGED_OUT = 6
    STREAM_REPLACED = 7
    TEMPORARY_BAN = 8
    CONNECT_FAILURE = 9
    CLIENT_OUTDATED = 10
    STREAM_ERROR = 11
    DISCONNECTED = 12
    MESSAGE = 17
    RECEIPT = 18
    CHAT_PRESENCE = 19
    PRESENCE = 20
    UNDECRYPTABLE = 44

    # The engine's own; payloads are messages of the engine contract.
    QR = 1000
    """A QR code, as ``QrOffered``."""
    LINKING_ENDED = 1001
    """Linking ended without a link, as ``LinkingEnded``."""
    PAIRED = 1002
    """A phone linked the device; the payload is that of DEVICE."""
    CLIENT_ENDED = 1003
    """The client ended by itself, as ``ClientEnded``."""


EPHEMERAL: Final = frozenset({Code.QR, Code.CHAT_PRESENCE, Code.PRESENCE})
"""Kinds that are of no use later: never spooled, the oldest are dropped when nobody takes them."""

_LAST: Final = 45
_QR_SET: Final = 1
_HISTORY_SYNC: Final = 13

SUBSCRIBED: Final = bytes(code for code in range(1, _LAST + 1) if code not in {_QR_SET, _HISTORY_SYNC})
"""The codes that Go is asked to deliver: of what is not in the list it forwards nothing (docs/neonize-traps.md).

All but two: the set of QR codes, which come one by one through their own callback, and history sync, which no event of
this version carries and which can be tens of megabytes.
"""

CONVERTED: Final = frozenset(Code) - {Code.DEVICE}
"""Kinds whose payload is looked at. Of the others only the fact is spooled, not the payload."""
