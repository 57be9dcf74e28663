"""A gateway on a real database, with engines that do what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.world import World, open_world


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory."""
    for name in ("sessions", "staging"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
async def world(data: Path) -> AsyncIterator[World]:
    """A gateway without sessions."""
    async with open_world(data) as opened:
        yield opened
