"""What goes wrong on purpose, for one phone or for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway_worker.simulator.errors import InvalidError

MAX_ACK_DELAY: Final = 600.0
"""Seconds by which an ack may be delayed."""

_CODES: Final = range(400, 1000)


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in force.

    Attributes:
        ack_delay: Seconds by which acks of messages are delayed.
        withhold_acks: Messages are delivered but never acknowledged.
        swallow_messages: Messages are neither acknowledged nor delivered.
        refuse_messages: Error code with which messages are refused; 0 for none.
        refuse_logins: Reason code with which logins fail; 0 for none.
        refuse_connections: New connections are closed before a word is said.
    """

    ack_delay: float = 0.0
    withhold_acks: bool = False
    swallow_messages: bool = False
    refuse_messages: int = 0
    refuse_logins: int = 0
    refuse_connections: bool = False

    def validate(self) -> None:
        """Check the values.

        Raises:
            InvalidError: A delay or code is outside what is accepted.
        """
        if not 0 <= self.ack_delay <= MAX_ACK_DELAY:
            raise InvalidError(f"ack_delay is 0 to {MAX_ACK_DELAY:g} seconds")
        for name, code in (("refuse_messages", self.refuse_messages), ("refuse_logins", self.refuse_logins)):
            if code and code not in _CODES:
                raise InvalidError(f"{name} is 0 or a code from {_CODES.start} to {_CODES.stop - 1}, not {code}")


class FaultTable:
    """Faults by phone, with those for all phones beneath."""

    def __init__(self) -> None:
        self._general = Faults()
        self._by_phone: dict[str, Faults] = {}

    def set(self, number: str, faults: Faults) -> None:
        """Replace the faults of one phone, or, without a number, those of every phone.

        Raises:
            InvalidError: A value is not accepted, or connections are to be refused for one phone: before the
                handshake nobody knows whose connection it is.
        """
        faults.validate()
        if not number:
            self._general = faults
            self._by_phone.clear()
        elif faults.refuse_connections:
            raise InvalidError("refuse_connections is for all phones: leave phone empty, or use refuse_logins")
        else:
            self._by_phone[number] = faults

    def of(self, number: str) -> Faults:
        """Return the faults that hit a phone: its own if it has been given any, else those for all."""
        return self._by_phone.get(number, self._general)

    @property
    def general(self) -> Faults:
        """The faults that hit every phone without faults of its own."""
        return self._general
