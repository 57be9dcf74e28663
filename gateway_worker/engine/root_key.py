"""Makes the Go core trust a simulator: overwrites the Noise root key that is compiled into it, in memory only.

The client checks the server's certificate chain against 32 bytes in a writable data section of its shared library.
They are looked up in the library's file, which says where they lie; the process's own memory map says where that part
of the file is mapped; and what is there must be the known key, once and nowhere else, before anything is written.
Linux on any architecture whose library holds the key as plain bytes.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KNOWN_ROOT: Final = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""WhatsApp's own root key, as compiled into the library."""

KEY_SIZE: Final = 32
"""Bytes of a root key."""

_MAPS: Final = Path("/proc/self/maps")
_MAPPING: Final = re.compile(
    r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<permissions>\S{4}) (?P<offset>[0-9a-f]+) \S+ \d+ +(?P<path>.*)"
)


class RootKeyError(Exception):
    """The root key was not installed, and nothing was written; the text says why."""


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A part of a file in this process's memory."""

    start: int
    end: int
    offset: int
    writable: bool


def install_root_key(root: bytes, library: Path) -> None:
    """Replace WhatsApp's root key by a simulator's in a library that this process has loaded.

    Call it after the library was loaded and before its first connection. Doing it twice with the same key is refused:
    the known key is not there any more.

    Args:
        root: The simulator's root key, 32 bytes.
        library: The shared library's file.

    Raises:
        RootKeyError: The key has another size, the library is not loaded or cannot be read, or the known key is not
            there exactly once and writable.
    """
    if len(root) != KEY_SIZE:
        raise RootKeyError(f"a root key has {KEY_SIZE} bytes, not {len(root)}")
    offset = _offset_in_file(library)
    address = _address_of(offset, library)
    found = ctypes.string_at(address, KEY_SIZE)
    if found != KNOWN_ROOT:
        raise RootKeyError(f"{library} holds {found.hex()} in memory where WhatsApp's root key should be")
    ctypes.memmove(address, root, KEY_SIZE)


def _offset_in_file(library: Path) -> int:
    try:
        content = library.read_bytes()
    except OSError as error:
        raise RootKeyError(f"{library} cannot be read: {error.strerror}") from error
    count = content.count(KNOWN_ROOT)
    if count != 1:
        raise RootKeyError(f"{library} holds WhatsApp's root key {count} times, not once: another version?")
    return content.index(KNOWN_ROOT)


def _address_of(offset: int, library: Path) -> int:
    """Return the one writable address at which the file's bytes from ``offset`` on are mapped."""
    mappings = [mapping for mapping in _mappings(library) if mapping.writable]
    if not mappings:
        raise RootKeyError(f"{library} is not loaded in this process")
    addresses = [
        mapping.start + offset - mapping.offset
        for mapping in mappings
        if mapping.offset <= offset and offset + KEY_SIZE <= mapping.offset + mapping.end - mapping.start
    ]
    if len(addresses) != 1:
        raise RootKeyError(f"{library} has the root key mapped writable at {len(addresses)} addresses, not at one")
    return addresses[0]


def _mappings(library: Path) -> list[_Mapping]:
    """List where parts of the file are mapped."""
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise RootKeyError(f"{_MAPS} cannot be read; this works on Linux only: {error.strerror}") from error
    path = str(library.resolve())
    matches = (_MAPPING.fullmatch(line) for line in lines)
    return [
        _Mapping(
            start=int(match["start"], 16),
            end=int(match["end"], 16),
            offset=int(match["offset"], 16),
            writable="w" in match["permissions"],
        )
        for match in matches
        if match is not None and match["path"] == path
    ]
