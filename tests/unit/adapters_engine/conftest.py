"""Pools of scripted engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.pool_world import PoolWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PoolWorld]:
    """A world of its own for each test."""
    async with AsyncExitStack() as stack:
        yield PoolWorld(tmp_path, stack)
