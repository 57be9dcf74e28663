"""Things that may vanish at any moment without harm."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway_worker.domain.ids import SessionKey


@dataclass(frozen=True, slots=True)
class Code:
    """A code that links a session: exactly one of ``qr`` and ``pairing_code`` is not empty. A secret.

    Attributes:
        qr: Text of the QR code.
        pairing_code: Code to type on the phone.
        expires_at: Unix seconds.
    """

    qr: str
    pairing_code: str
    expires_at: float

    def __repr__(self) -> str:
        return f"Code(<secret>, expires_at={self.expires_at})"


class CodeStore(Protocol):
    """Codes that are valid now, each gone by itself when it expires."""

    async def put(self, key: SessionKey, code: Code) -> None:
        """Keep the session's code in place of the one before."""
        ...

    async def get(self, key: SessionKey) -> Code | None:
        """The session's code, None when there is none that is still valid."""
        ...

    async def drop(self, key: SessionKey) -> None:
        """Forget the session's code."""
        ...


class MediaStaging(Protocol):
    """Files by which media bytes pass to an engine."""

    def stage(self, data: bytes) -> AbstractAsyncContextManager[Path]:
        """Hold ``data`` in a private file for the time of the context.

        Raises:
            StoreUnavailableError: The disk does not take it.
        """
        ...


class Clock(Protocol):
    """Time."""

    def time(self) -> float:
        """Unix seconds."""
        ...
