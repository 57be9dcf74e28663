"""Logging of faults in code that handles messages."""

from __future__ import annotations

import logging
import traceback

logger = logging.getLogger(__name__)


def log_fault(what: str, error: Exception) -> None:
    """Log where an exception came from, without its text: that may quote a message or a number."""
    logger.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
