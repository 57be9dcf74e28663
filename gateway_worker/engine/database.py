"""The name under which neonize opens a session's auth database.

neonize makes a data source name of what it is given: ``file:NAME?_foreign_keys=on``. Parameters of its SQLite driver
can therefore be put into the name, with a last one that swallows neonize's own tail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PARAMETERS: Final = (
    "_foreign_keys=on"
    "&_journal_mode=WAL"  # three times the pairings a second, and readers in other processes are safe
    "&_synchronous=FULL"  # the driver's default in WAL mode is NORMAL: a commit would not survive a power cut
    "&_busy_timeout=10000"  # ms; the worker reads the file while the client writes
    "&_txlock=immediate"  # a transaction that upgrades its lock half-way fails at once, timeout or not
    "&mode=rw"  # never create: an empty database would look like a device that was never linked
    "&_pad="
)
_FORBIDDEN: Final = frozenset("?#%")


class UnusablePathError(ValueError):
    """The path cannot be written into a data source name."""


def data_source_name(path: Path) -> bytes:
    """Build the name for an existing database file.

    Args:
        path: Absolute path.

    Raises:
        UnusablePathError: It is relative, is not UTF-8, or holds a character that means something in the name.
    """
    text = str(path)
    if not path.is_absolute():
        raise UnusablePathError("the path of an auth database must be absolute")
    if any(character in _FORBIDDEN or not character.isprintable() for character in text):
        raise UnusablePathError("the path of an auth database must not hold ? # % or control characters")
    try:
        return f"{text}?{_PARAMETERS}".encode()
    except UnicodeEncodeError as error:
        raise UnusablePathError("the path of an auth database must be UTF-8") from error
