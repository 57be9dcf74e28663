"""What an engine prints, as log records.

The engine's own Python logs JSON lines on stderr. The Go core prints to both streams whatever it likes, phone numbers
and pairing codes included, and on a crash its report.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re

logger = logging.getLogger(__name__)

_PRINTS = "gateway_worker.engine.prints"  # logger of lines that are not the engine's own
_CHUNK = 64 * 1024  # bytes a read
_LINE_LIMIT = 16 * 1024  # bytes of a line that are kept
_CRASH = re.compile(r"fatal error: |panic: |Fatal Python error: |SIG[A-Z]{2,}: |\[signal SIG|unexpected fault address")
_CRASH_LINES = 24  # of a crash report; what follows is hundreds of stacks of idle goroutines
_CRASH_PAUSE = 0.5  # s without a further line after which a report counts as complete
_SECRETS = (
    (re.compile(r"\d{6,}"), "######"),  # phone numbers and ids
    (re.compile(r"\b[1-9A-HJ-NP-TV-Z]{4}-[1-9A-HJ-NP-TV-Z]{4}\b"), "####-####"),  # pairing codes
    (re.compile(r"[A-Za-z0-9+/=_-]{40,}"), "######"),  # keys in base64
)


class OutputLog:
    """Log of one output stream of an engine.

    Args:
        engine_id: The engine.
    """

    def __init__(self, engine_id: str) -> None:
        self._engine_id = engine_id
        self._rest = b""
        self._overlong = False
        self._crash: list[str] = []

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Log what comes until the stream ends. Reads on whatever the lines hold, so that the engine never blocks."""
        while True:
            try:
                async with asyncio.timeout(_CRASH_PAUSE if self._crash else None):
                    data = await stream.read(_CHUNK)
            except TimeoutError:
                self._flush_crash()
                continue
            if not data:
                break
            self.feed(data)
        if self._rest:
            self._line(self._rest)
        self._flush_crash()

    def feed(self, data: bytes) -> None:
        """Log the lines that ``data`` completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._overlong:  # the rest of a line of which the beginning was logged
                self._overlong = False
            else:
                self._line(line)
        if len(rest) > _LINE_LIMIT:
            if not self._overlong:
                self._line(rest)
            self._overlong, rest = True, b""
        self._rest = rest

    def _line(self, line: bytes) -> None:
        text = line[:_LINE_LIMIT].decode("utf-8", "replace").rstrip()
        if not text or (text.startswith("{") and self._relay(text)):
            return
        if self._crash or _CRASH.match(text):
            self._crash.append(text)
            if len(self._crash) >= _CRASH_LINES:
                self._flush_crash()
            return
        prints = logging.getLogger(_PRINTS)
        if prints.isEnabledFor(logging.DEBUG):
            prints.debug("engine %s: %s", self._engine_id, _masked(text), extra={"engine": self._engine_id})

    def _relay(self, text: str) -> bool:
        """Log a JSON line under its own level and logger; False when it is none of the engine's."""
        try:
            record = json.loads(text)
        except ValueError:
            return False
        if not isinstance(record, dict):
            return False
        name, level, message = record.get("logger"), record.get("level"), record.get("message")
        if not (isinstance(name, str) and isinstance(level, str) and isinstance(message, str)):
            return False
        number = logging.getLevelNamesMapping().get(level.upper())
        if number is None:
            return False
        extra = {"engine": self._engine_id}
        if isinstance(session := record.get("session"), str):
            extra["session"] = session
        logging.getLogger(name).log(number, "engine %s: %s", self._engine_id, message, extra=extra)
        return True

    def _flush_crash(self) -> None:
        if self._crash:
            report = "\n".join(_masked(line) for line in self._crash)
            self._crash.clear()
            logger.error("engine %s crashed:\n%s", self._engine_id, report, extra={"engine": self._engine_id})


def _masked(text: str) -> str:
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text
