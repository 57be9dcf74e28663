"""The engine's log: one JSON object a line on stderr, so that the worker can tell it from what Go prints there.

Keys: ``level`` (DEBUG, INFO, WARNING, ERROR), ``logger``, ``message``, and ``session``, a handle, where the record is
about one. The worker adds the time and the engine.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from gateway_worker.engine.redaction import redact
from gateway_worker.waproto import neonize

_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG}

_library = logging.getLogger("whatsmeow")


class JsonLines(logging.Handler):
    """Writes each record with one ``write``: Go writes to the same descriptor and must not land within a line.

    Args:
        descriptor: File descriptor to write to.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be written is dropped, there being nowhere to say so."""
        try:
            os.write(self._descriptor, f"{render(record)}\n".encode())
        except Exception:  # noqa: BLE001 - logging must not fail what it logs
            self.handleError(record)


def render(record: logging.LogRecord) -> str:
    """Render a record as a line of JSON, its text redacted."""
    message = record.getMessage()
    if record.exc_info:
        message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
    entry = {"level": record.levelname, "logger": record.name, "message": redact(message)}
    if session := getattr(record, "session", None):
        entry["session"] = session
    return json.dumps(entry, ensure_ascii=False)


def configure(level: str) -> None:
    """Send all logging to stderr from this level on."""
    logging.raiseExceptions = False
    logging.basicConfig(level=level, handlers=[JsonLines(sys.stderr.fileno())], force=True)


def log_library(handle: str, entry: bytes) -> str:
    """Log what the client library logged about a session, a serialized ``LogEntry``; returns its message as it was."""
    line = neonize.LogEntry.FromString(entry)
    _library.log(_LEVELS.get(line.Level, logging.INFO), "%s: %s", line.Name, line.Message, extra={"session": handle})
    return line.Message
