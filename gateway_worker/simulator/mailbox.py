"""What a device has been sent and has not acknowledged.

WhatsApp keeps a stanza until the device says that it has it, not until it was written to a socket: what was in flight
when a connection broke comes again with the next one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway_worker.simulator.binary import Node

CAPACITY: Final = 20_000
"""Stanzas kept for one device; beyond it the oldest are lost, as after weeks offline."""

_logger = logging.getLogger(__name__)


class Mailbox:
    """Unacknowledged stanzas of one device, oldest first."""

    __slots__ = ("_next", "_numbers", "_stanzas")

    def __init__(self) -> None:
        self._next = 0
        self._stanzas: dict[int, Node] = {}
        self._numbers: dict[tuple[str, str], list[int]] = {}

    def __len__(self) -> int:
        return len(self._stanzas)

    def after(self, number: int) -> list[tuple[int, Node]]:
        """List the stanzas that came later than the one of this number, with their numbers; all of them after -1."""
        return [item for item in self._stanzas.items() if item[0] > number]

    def put(self, node: Node) -> None:
        """Keep a stanza until it is acknowledged."""
        number = self._next
        self._next = number + 1
        self._stanzas[number] = node
        # Ids repeat when a message is sent again, so an acknowledgement settles the oldest of that id.
        self._numbers.setdefault((node.tag, node.attrs.get("id", "")), []).append(number)
        if len(self._stanzas) > CAPACITY:
            oldest = next(iter(self._stanzas.values()))
            _logger.warning("a mailbox is full: <%s> %s is lost", oldest.tag, oldest.attrs.get("id"))
            self.settle(oldest.tag, oldest.attrs.get("id", ""))

    def settle(self, tag: str, stanza_id: str) -> bool:
        """Forget the oldest stanza of this kind and id; False when there is none."""
        key = (tag, stanza_id)
        numbers = self._numbers.get(key)
        if not numbers:
            return False
        del self._stanzas[numbers.pop(0)]
        if not numbers:
            del self._numbers[key]
        return True
