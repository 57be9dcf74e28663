"""Ids and cursors: made and parsed here and nowhere else."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import NewType

from gateway_worker.domain.errors import InvalidCursorError

TenantId = NewType("TenantId", str)
SessionId = NewType("SessionId", str)
Position = NewType("Position", int)
"""Place in the journal: the number of an event in the order of commits, over all sessions. 0 is before the first."""

DEFAULT_TENANT = TenantId("default")
ORIGIN = Position(0)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CURSOR = re.compile(r"p([0-9a-f]{1,15})")


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """Key of a session everywhere inside the worker: the tenant is part of it from the first table on."""

    tenant: TenantId
    session: SessionId

    @property
    def handle(self) -> str:
        """The session's name towards engines and in paths; neither part can hold a slash."""
        return f"{self.tenant}/{self.session}"

    @classmethod
    def from_handle(cls, handle: str) -> SessionKey:
        """Inverse of :attr:`handle`; raises ValueError for anything else."""
        tenant, slash, session = handle.partition("/")
        if not slash or not is_name(tenant) or not is_name(session):
            raise ValueError("not a session handle")
        return cls(TenantId(tenant), SessionId(session))


def is_name(text: str) -> bool:
    """Whether ``text`` is what ids of sessions, tenants and consumers look like. Safe as a file name."""
    return _NAME.fullmatch(text) is not None


def new_session_id() -> SessionId:
    """A random session id: ``s-`` and 16 lowercase letters and digits."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return SessionId("s-" + "".join(secrets.choice(alphabet) for _ in range(16)))


def cursor_of(position: Position) -> str:
    """The cursor that stands for a position. Opaque to clients."""
    return f"p{position:x}"


def position_of(cursor: str) -> Position:
    """The position a cursor stands for; raises InvalidCursorError for anything this gateway never issued."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidCursorError
    return Position(int(match[1], 16))
