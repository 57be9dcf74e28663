"""How a spool looks on disk.

A spool is a folder of segments. A segment's name is the position of its first record, 20 decimal digits and
``.spool``; positions count records from 1 without gaps, so a record's position is that of its segment plus its index.
A record, all integers little-endian::

    u32 length of the body   u32 CRC-32 of the body   body
    body: u8 version · u16 code · i64 time (Unix ns) · u16 length of the handle · handle (UTF-8) · payload

This module knows bytes only; :mod:`.writer` and :mod:`.reader` know files.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

SUFFIX: Final = ".spool"
"""Suffix of a segment's file name."""

VERSION: Final = 1
"""Version of the body's layout that this module writes, and the only one it reads."""

MAX_BODY: Final = 256 * 1024 * 1024
"""Longest body in bytes. WhatsApp's largest event is far below; a longer length is garbage, not a record."""

_MAX_HANDLE: Final = 0xFFFF
_FRAME: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<BHqH")


class TornRecordError(Exception):
    """The bytes are not a whole record: the end of what was written, or damage."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it was taken from the client library.

    Attributes:
        handle: The session's handle.
        time_ns: When the engine took it, Unix nanoseconds.
        code: Kind of the event, see :mod:`gateway_worker.engine.codes`.
        payload: Serialized protobuf message; its type follows from the code.
    """

    handle: str
    time_ns: int
    code: int
    payload: bytes


def encode(record: Record) -> bytes:
    """Serialize a record with its frame.

    Raises:
        ValueError: The handle or the payload is too long to be framed.
    """
    handle = record.handle.encode()
    if len(handle) > _MAX_HANDLE:
        raise ValueError("a handle of more than 65,535 bytes cannot be spooled")
    body = _HEADER.pack(VERSION, record.code, record.time_ns, len(handle)) + handle + record.payload
    if len(body) > MAX_BODY:
        raise ValueError("an event of more than 256 MiB cannot be spooled")
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def decode(buffer: bytes | bytearray | memoryview, offset: int) -> tuple[Record, int]:
    """Read the record that starts at ``offset``.

    Returns:
        The record and the offset after it.

    Raises:
        TornRecordError: The buffer ends before the record does, or its bytes are not what was written.
    """
    start = offset + _FRAME.size
    if len(buffer) < start:
        raise TornRecordError("the frame is cut off")
    length, checksum = _FRAME.unpack_from(buffer, offset)
    end = start + length
    if not _HEADER.size <= length <= MAX_BODY:
        raise TornRecordError("the length is not one of a record")
    if len(buffer) < end:
        raise TornRecordError("the body is cut off")
    body = bytes(buffer[start:end])
    if zlib.crc32(body) != checksum:
        raise TornRecordError("the checksum does not fit")
    version, code, time_ns, handle_length = _HEADER.unpack_from(body)
    payload_at = _HEADER.size + handle_length
    if version != VERSION or payload_at > length:
        raise TornRecordError("the header is not one of this version")
    handle = body[_HEADER.size : payload_at].decode(errors="replace")
    return Record(handle, time_ns, code, body[payload_at:]), end


def needed(buffer: bytes | bytearray | memoryview, offset: int) -> int:
    """Bytes that the record at ``offset`` takes by its own frame; 0 when the frame is not there or not plausible."""
    if len(buffer) < offset + _FRAME.size:
        return 0
    (length, _) = _FRAME.unpack_from(buffer, offset)
    return _FRAME.size + length if length <= MAX_BODY else 0


def segment_name(first: int) -> str:
    """File name of the segment whose first record has position ``first``."""
    return f"{first:020d}{SUFFIX}"


def first_position(name: str) -> int | None:
    """Position of a segment's first record by its file name; None for other files."""
    stem = name.removesuffix(SUFFIX)
    return int(stem) if name.endswith(SUFFIX) and stem.isascii() and stem.isdigit() and int(stem) > 0 else None
