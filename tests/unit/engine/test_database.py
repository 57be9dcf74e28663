"""The name under which an auth database is opened."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from gateway_worker.engine.database import UnusablePathError, data_source_name


def test_the_parameters_are_those_that_keep_it_whole() -> None:
    """WAL, full synchronisation, patience, immediate transactions, never create; neonize's own tail is swallowed."""
    name = data_source_name(Path("/data/a b/ü.db")).decode()
    path, _, parameters = f"file:{name}?_foreign_keys=on".partition("?")
    assert path == "file:/data/a b/ü.db"
    assert parse_qs(parameters) == {
        "_foreign_keys": ["on"],
        "_journal_mode": ["WAL"],
        "_synchronous": ["FULL"],
        "_busy_timeout": ["10000"],
        "_txlock": ["immediate"],
        "mode": ["rw"],
        "_pad": ["?_foreign_keys=on"],
    }


@pytest.mark.parametrize("path", ["relative.db", "/a?b.db", "/a#b.db", "/a%20b.db", "/a\nb.db", "/a\0b.db"])
def test_a_path_that_would_mean_something_else_is_refused(path: str) -> None:
    """Characters of the name's own syntax cannot be escaped in it."""
    with pytest.raises(UnusablePathError):
        data_source_name(Path(path))


def test_a_path_that_is_not_text_is_refused() -> None:
    """A name must be UTF-8."""
    with pytest.raises(UnusablePathError):
        data_source_name(Path(os.fsdecode(b"/data/\xff.db")))
