"""Where the sessions' auth state lives: one SQLite file a link, written by engines, read by the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gateway_worker.domain.ids import SessionKey


class AuthStates(Protocol):
    """The auth databases. All calls are safe while an engine has the file open: they read through SQLite, read-only."""

    async def prepare(self, key: SessionKey, generation: int) -> Path:
        """Make the folder and, if there is none, an empty database in WAL mode; return its path.

        Raises:
            StoreUnavailableError: The disk does not take it.
        """
        ...

    async def message_of_secret(self, key: SessionKey, generation: int, secret: bytes) -> str | None:
        """Id of the message that was stored with this secret before it went to the wire; None when there is none.

        Raises:
            StoreUnavailableError: The database cannot be read now.
        """
        ...

    async def discard(self, key: SessionKey, generation: int | None = None) -> None:
        """Erase one generation's database, or all of the session. No engine may have it open."""
        ...
