"""Fixtures of the tests of Signal and of the people whom the simulator plays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.simulated_world import World, simulated_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A simulator without sockets, with one phone."""
    async with simulated_world(tmp_path) as running:
        yield running
