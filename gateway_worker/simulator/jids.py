"""JIDs as the server reads them: who is meant, by which form of address."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

from gateway_worker.simulator.endpoints import LID_SERVER, PN_SERVER

_PATTERN: Final = re.compile(r"([0-9]{1,20})(?:\.[0-9]{1,3})?(?::([0-9]{1,3}))?@([a-z0-9.-]+)")
_SERVERS: Final = {PN_SERVER: PN_SERVER, "c.us": PN_SERVER, LID_SERVER: LID_SERVER}


@dataclass(frozen=True, slots=True)
class UserJid:
    """The JID of a user or of one device of a user.

    Attributes:
        user: Digits of the phone number or of the LID.
        device: The device; 0 is the phone, and also what a JID without a device says.
        server: :data:`PN_SERVER` or :data:`LID_SERVER`: what the digits are.
    """

    user: str
    device: int
    server: str

    @property
    def is_lid(self) -> bool:
        """True when the digits are a LID's."""
        return self.server == LID_SERVER


@functools.lru_cache(maxsize=1 << 15)
def parse_user(text: str) -> UserJid | None:
    """Parse the JID of a user or device; None for groups, servers and everything else."""
    match = _PATTERN.fullmatch(text)
    if match is None or match[3] not in _SERVERS:
        return None
    return UserJid(match[1], int(match[2] or 0), _SERVERS[match[3]])
