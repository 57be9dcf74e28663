"""Frames in the byte stream that a WebSocket carries: three bytes of length, then that many bytes.

Where a WebSocket message ends says nothing: a frame may span several, and one message may hold several frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway_worker.simulator.errors import BadClientError
from gateway_worker.simulator.noise import PROLOGUE

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FRAME: Final = (1 << 24) - 1
_LENGTH_SIZE: Final = 3


class FrameError(BadClientError):
    """The stream does not open as WhatsApp's does."""


def frame(data: bytes) -> bytes:
    """Put the length before a frame's bytes.

    Raises:
        FrameError: The data has more bytes than the length can say.
    """
    if len(data) > MAX_FRAME:
        raise FrameError(f"a frame has at most {MAX_FRAME} bytes, not {len(data)}")
    return len(data).to_bytes(_LENGTH_SIZE, "big") + data


class Deframer:
    """Cuts a client's stream, which opens with the prologue, into frames."""

    __slots__ = ("_buffer", "_opened")

    def __init__(self) -> None:
        self._buffer = b""
        self._opened = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more of the stream and yield the frames that it completes; iterate it to its end.

        Raises:
            FrameError: The stream does not open with the prologue.
        """
        buffer = self._buffer + data if self._buffer else data
        position = 0
        if not self._opened:
            if not PROLOGUE.startswith(buffer[: len(PROLOGUE)]):
                raise FrameError(f"the stream opens with {buffer[: len(PROLOGUE)].hex(' ')}, not {PROLOGUE.hex(' ')}")
            if len(buffer) < len(PROLOGUE):
                self._buffer = buffer
                return
            self._opened = True
            position = len(PROLOGUE)
        available = len(buffer)
        while available - position >= _LENGTH_SIZE:
            start = position + _LENGTH_SIZE
            end = start + int.from_bytes(buffer[position:start], "big")
            if end > available:
                break
            yield buffer[start:end]
            position = end
        self._buffer = buffer[position:]
