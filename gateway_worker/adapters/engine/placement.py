"""Which engine the next client goes to."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Protocol, TypeVar


class Role(Enum):
    """What an engine is for."""

    SESSION = "session"
    PAIRING = "pairing"


class Host(Protocol):
    """What placement needs to know of an engine."""

    @property
    def role(self) -> Role:
        """What it is for."""
        ...

    @property
    def load(self) -> int:
        """Clients that live in it or are on their way in or out."""
        ...

    @property
    def takes_clients(self) -> bool:
        """Whether new clients may be placed in it."""
        ...


H = TypeVar("H", bound=Host)


def choose(engines: Iterable[H], role: Role, capacity: int) -> H | None:
    """The engine with the fewest clients among those of a role that have room, the oldest of equals; None: none has."""
    candidates = (engine for engine in engines if engine.role is role and engine.takes_clients)
    best = min(candidates, key=lambda engine: engine.load, default=None)
    return best if best is not None and best.load < capacity else None
