"""Whole processes: a simulator for all tests of a module, a worker for each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import RunningSimulator, running_simulator


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[RunningSimulator]:
    """A simulator of its own process."""
    async with running_simulator(tmp_path) as running:
        yield running
