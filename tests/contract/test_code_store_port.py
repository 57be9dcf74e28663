"""What every code store does."""

from __future__ import annotations

import pytest

from gateway_worker.adapters.memory.codes import MemoryCodeStore
from gateway_worker.ports.ephemera import Code, CodeStore
from tests.support.stores import KEY, NOW, OTHER, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """The time the store goes by."""
    return ManualClock()


@pytest.fixture(params=[MemoryCodeStore])
def codes(request: pytest.FixtureRequest, clock: ManualClock) -> CodeStore:
    """An empty store of each adapter."""
    make: type[MemoryCodeStore] = request.param
    return make(clock)


async def test_keeps_the_last_code(codes: CodeStore) -> None:
    """A new code replaces the one before; sessions do not mix."""
    assert await codes.get(KEY) is None
    await codes.put(KEY, Code("qr 1", "", NOW + 60))
    await codes.put(KEY, Code("", "ABCD-EFGH", NOW + 20))
    assert await codes.get(KEY) == Code("", "ABCD-EFGH", NOW + 20)
    assert await codes.get(OTHER) is None


async def test_a_code_goes_when_it_expires(codes: CodeStore, clock: ManualClock) -> None:
    """Valid until its time, and never again after it, even if the clock is set back."""
    await codes.put(KEY, Code("qr", "", NOW + 20))
    clock.now = NOW + 19.9
    assert await codes.get(KEY) is not None
    clock.now = NOW + 20
    assert await codes.get(KEY) is None
    clock.now = NOW
    assert await codes.get(KEY) is None


async def test_one_code_going_leaves_the_others(codes: CodeStore, clock: ManualClock) -> None:
    """What expired makes room when another code comes; what is valid stays."""
    await codes.put(KEY, Code("short", "", NOW + 1))
    await codes.put(OTHER, Code("long", "", NOW + 100))
    clock.now = NOW + 2
    await codes.put(KEY, Code("new", "", NOW + 50))
    assert await codes.get(KEY) == Code("new", "", NOW + 50)
    assert await codes.get(OTHER) == Code("long", "", NOW + 100)


async def test_a_code_can_be_dropped(codes: CodeStore) -> None:
    """Dropping what is not there does nothing."""
    await codes.put(KEY, Code("qr", "", NOW + 60))
    await codes.drop(KEY)
    await codes.drop(OTHER)
    assert await codes.get(KEY) is None


async def test_a_code_shows_its_secret_to_nobody(codes: CodeStore) -> None:
    """Logs that print a code from the store do not link anybody's account."""
    await codes.put(KEY, Code("2@qr-secret", "", NOW + 60))
    assert "secret>" in repr(await codes.get(KEY))
    assert "qr-secret" not in repr(await codes.get(KEY))
