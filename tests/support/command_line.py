"""What a call of the command line left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """A command that ended.

    Attributes:
        code: Its exit code.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """All it said, with line breaks as spaces: where lines are folded depends on the terminal."""
        return " ".join((self.out + self.err).split())

    def json(self) -> Any:
        """Return its one line of JSON."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    def json_lines(self) -> list[Any]:
        """Return its lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Result]
"""Runs the command line with arguments."""
