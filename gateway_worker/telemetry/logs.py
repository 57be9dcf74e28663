"""Logging: one line a record, for people on a terminal or as JSON; phone numbers never appear in full."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

# Phone numbers, JIDs and LIDs are runs of 7 digits and more. Their last two digits stay, to tell one from another.
_LONG_DIGITS = re.compile(r"(?<![0-9A-Za-z.])\+?\d{5,}(\d{2})(?![0-9A-Za-z.])")


def redact(text: str) -> str:
    """Mask what looks like a phone number or a numeric JID."""
    return _LONG_DIGITS.sub(r"***\1", text)


class _ConsoleFormatter(logging.Formatter):
    """``12:34:56 INFO    sessions.actor  session s-1: CONNECTED``."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record, redacted, with its traceback if it has one."""
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        name = record.name.removeprefix("gateway_worker.")
        lines = [f"{moment} {record.levelname:<7} {name}: {record.getMessage()}"]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return redact("\n".join(lines))


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, and exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record, redacted."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            document["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)


def set_up_logging(level: str, style: Literal["auto", "console", "json"], stream: TextIO | None = None) -> None:
    """Log to ``stream``, standard error by default, from now on and in this form only."""
    stream = stream or sys.stderr
    console = style == "console" or (style == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_ConsoleFormatter() if console else _JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
