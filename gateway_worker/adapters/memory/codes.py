"""Codes in memory: a restart forgets them, and they would not be valid after one anyway."""

from __future__ import annotations

from gateway_worker.domain.ids import SessionKey
from gateway_worker.ports.ephemera import Clock, Code


class MemoryCodeStore:
    """The codes that are valid now.

    Args:
        clock: Tells when a code has expired.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[SessionKey, Code] = {}

    async def put(self, key: SessionKey, code: Code) -> None:
        """See :meth:`gateway_worker.ports.ephemera.CodeStore.put`."""
        self._codes[key] = code

    async def get(self, key: SessionKey) -> Code | None:
        """See :meth:`gateway_worker.ports.ephemera.CodeStore.get`."""
        code = self._codes.get(key)
        if code is not None and code.expires_at <= self._clock.time():
            del self._codes[key]
            return None
        return code

    async def drop(self, key: SessionKey) -> None:
        """See :meth:`gateway_worker.ports.ephemera.CodeStore.drop`."""
        self._codes.pop(key, None)
