"""Where results, notices and errors go: stdout for results, stderr for the rest, JSON when a program reads."""

from __future__ import annotations

import json
import sys
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType

_LOG_WIDTH = 2000  # columns; lines of a file are not wrapped at the width of a terminal


def to_json(message: Message) -> dict[str, Any]:
    """Return protobuf's JSON mapping of a message, with fields that have their default value written out.

    Scripts then find ``"sessions": []`` rather than nothing.
    """
    document: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return document


class Output:
    """What a command says.

    Colours, and everything else that needs a terminal, are left out by rich when the stream is none or ``NO_COLOR`` is
    set. Lines for a log file are not wrapped: a path that is broken in two cannot be searched for.

    Args:
        as_json: Results are JSON on stdout; notices are left out.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        if not self.err.is_terminal:
            self.err.width = _LOG_WIDTH

    def result(self, message: Message, *, view: RenderableType) -> None:
        """Print a result: the message as JSON, or its view for people."""
        if self.as_json:
            self.json_line(to_json(message))
        else:
            self.out.print(view)

    def json_line(self, document: dict[str, Any]) -> None:
        """Write one line of JSON to stdout and flush it, so that a program that reads along sees it at once."""
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def notice(self, text: RenderableType) -> None:
        """Tell a person something that is no result; goes to stderr, and nowhere when a program reads."""
        if not self.as_json:
            self.err.print(text)

    def error(self, document: dict[str, Any], *, view: RenderableType) -> None:
        """Report the error that ends the command, to stderr."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": document}, ensure_ascii=False) + "\n")
            sys.stderr.flush()
        else:
            self.err.print(view)
