"""What the simulator's parts refuse, by the reason a caller can act upon.

::

    SimulatorError
     +- InvalidError         a value outside what is accepted            (control API: INVALID_ARGUMENT)
     +- NotFoundError        no such phone, contact, device, message     (control API: NOT_FOUND)
     +- AlreadyExistsError   a number or id that is taken                (control API: ALREADY_EXISTS)
     +- PreconditionError    exists, but not in the state that it needs  (control API: FAILED_PRECONDITION)

    BadClientError           bytes or stanzas that make no sense: that client's connection ends, nothing else does
"""

from __future__ import annotations


class SimulatorError(Exception):
    """Base of the errors that the simulator's own interfaces raise; the text is meant for their caller."""


class InvalidError(SimulatorError):
    """A value is not accepted; the text says what is."""


class NotFoundError(SimulatorError):
    """The phone, contact, device or message that was named does not exist."""


class AlreadyExistsError(SimulatorError):
    """The number or id that was asked for is taken."""


class PreconditionError(SimulatorError):
    """What was named exists, but not in the state that the call needs."""


class BadClientError(Exception):
    """A client sent what no client sends; the text says what, for the log."""
