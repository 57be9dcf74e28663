"""Takes out of log text what must not be in a log.

The client library logs JIDs and phone numbers, and dumps whole stanzas where it meets something unexpected: names, keys
and message ids are in them.
"""

from __future__ import annotations

import re
from typing import Final

_NODE: Final = re.compile(r"<(/?[A-Za-z][\w:-]*)(?:\s[^<>]*)?/?>")
_NODE_TEXT: Final = re.compile(r">[^<>]+</")
_BLOB: Final = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
_DIGITS: Final = re.compile(r"\d{6,}")
_KEPT: Final = 2


def redact(text: str) -> str:
    """Mask what could identify somebody or open something.

    XML nodes are cut down to their names, runs of 32 and more base64 or hexadecimal characters and runs of 6 and more
    digits to stars; of digits the last two stay, so that two numbers can be told apart.
    """
    text = _NODE.sub(r"<\1>", text)
    text = _NODE_TEXT.sub(">***</", text)
    text = _BLOB.sub("***", text)
    return _DIGITS.sub(lambda run: "*" * (len(run[0]) - _KEPT) + run[0][-_KEPT:], text)
