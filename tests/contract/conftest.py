"""Fixtures of the behaviour suites: each test runs on every adapter of its port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stores import ADAPTERS, Stores, open_stores


@pytest.fixture(params=ADAPTERS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Empty stores of an adapter."""
    async with open_stores(request.param, tmp_path) as opened:
        yield opened
