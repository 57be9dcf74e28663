"""Exit codes, and the errors that end a command with one of them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a script learns from ``$?``. Part of the command line's interface: values never change their meaning."""

    OK = 0
    """It worked."""
    REFUSED = 1
    """The worker (or the simulator) answered with an error, or is not well."""
    USAGE = 2
    """The command line, a file it names, or a setting is wrong; nothing was asked of the worker."""
    UNREACHABLE = 3
    """The worker (or the simulator) cannot be reached, or went away."""
    NOT_LINKED = 4
    """The session is not linked to an account, linking ended without a link, or time ran out."""
    INTERNAL = 70
    """A defect of the command line itself (``EX_SOFTWARE`` of sysexits.h)."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


class CommandError(Exception):
    """Ends a command with a message for its user.

    Args:
        message: What is wrong, as one sentence without a final stop.
        hint: What to do about it, may be empty.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.REFUSED

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class UsageError(CommandError):
    """What the user gave cannot be used."""

    exit_code = ExitCode.USAGE


class UnreachableError(CommandError):
    """A server does not answer."""

    exit_code = ExitCode.UNREACHABLE


class NotLinkedError(CommandError):
    """Linking ended without a link, or time ran out."""

    exit_code = ExitCode.NOT_LINKED


EXIT_CODES_HELP = (
    "Exit codes: 0 done · 1 refused by the worker · 2 wrong usage · 3 cannot reach it · "
    "4 not linked, or time ran out · 130 Ctrl-C"
)
