"""The spool directory: nothing is imported twice, nothing unread is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway_worker.adapters.engine.spools import SpoolDirectory


@pytest.fixture
def spools(tmp_path: Path) -> SpoolDirectory:
    """An empty spool directory."""
    directory = SpoolDirectory(tmp_path / "spools")
    directory.prepare()
    return directory


def test_spools_are_found_oldest_first(spools: SpoolDirectory) -> None:
    """Those of which the deletion was interrupted count as left over; those put aside do not."""
    for age, name in enumerate(("new", "middle", "old")):
        folder = spools.create(name)
        os.utime(folder, (1000 - age, 1000 - age))
    (spools.create("aside") / "events").touch()
    spools.set_aside("aside")
    spools.path("old").rename(spools.path("old.done"))
    assert spools.left_over() == ["old", "middle", "new"]


def test_a_spool_without_a_byte_is_empty(spools: SpoolDirectory) -> None:
    """A lock file and a segment that was never written hold no events."""
    folder = spools.create("s")
    (folder / "lock").touch()
    assert spools.is_empty("s")
    assert spools.is_empty("never-made")
    (folder / "events").write_bytes(b"x")
    assert not spools.is_empty("s")


def test_discarding_is_safe_to_repeat(spools: SpoolDirectory) -> None:
    """After a crash half-way, and when the engine that imported it was faster."""
    (spools.create("s") / "events").write_bytes(b"x")
    spools.path("s").rename(spools.path("s.done"))
    assert spools.is_empty("s")
    spools.discard("s")
    spools.discard("s")
    assert spools.left_over() == []


def test_folders_are_private(spools: SpoolDirectory) -> None:
    """They hold messages."""
    assert spools.create("s").stat().st_mode & 0o777 == 0o700
