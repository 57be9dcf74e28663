"""What every media staging does."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_worker.adapters.filesystem.staging import FileMediaStaging
from gateway_worker.domain.errors import StoreUnavailableError
from gateway_worker.ports.ephemera import MediaStaging
from tests.support.limits import file_size_limit


@pytest.fixture
async def staging(tmp_path: Path) -> AsyncIterator[MediaStaging]:
    """A staging whose folder is the test's."""
    async with FileMediaStaging(tmp_path) as opened:
        yield opened


async def test_holds_the_bytes_for_the_time_of_the_context(staging: MediaStaging, tmp_path: Path) -> None:
    """The file has the bytes, is the owner's alone, and is gone afterwards."""
    data = bytes(range(256)) * 1000
    async with staging.stage(data) as path:
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []


async def test_files_do_not_mix(staging: MediaStaging) -> None:
    """The same bytes twice are two files, each with a life of its own."""
    async with staging.stage(b"same") as second:
        async with staging.stage(b"same") as first:
            assert first != second
        assert second.read_bytes() == b"same"
        assert not first.exists()


async def test_the_file_goes_when_the_call_fails(staging: MediaStaging, tmp_path: Path) -> None:
    """An error inside the context, even one of the disk's, passes through as it is, and the file is removed."""
    with pytest.raises(FileNotFoundError):
        async with staging.stage(b"data"):
            (tmp_path / "missing").read_bytes()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", [0, 1])
async def test_the_file_goes_when_the_call_is_cancelled(staging: MediaStaging, tmp_path: Path, moment: int) -> None:
    """Whether it is cancelled before the file is written or in the context, nothing stays."""
    staged = asyncio.Event()

    async def call() -> None:
        async with staging.stage(b"x" * 5_000_000):
            staged.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(call())
    await (staged.wait() if moment else asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_tells_when_the_disk_does_not_take_it(staging: MediaStaging, tmp_path: Path) -> None:
    """What could not be written completely is an outage, leaves nothing, and ends with its cause."""
    with file_size_limit(1_000_000), pytest.raises(StoreUnavailableError):
        async with staging.stage(b"x" * 2_000_000):
            pytest.fail("there is no file to work with")
    assert list(tmp_path.iterdir()) == []
    async with staging.stage(b"x" * 2_000_000) as path:
        assert path.stat().st_size == 2_000_000


async def test_a_folder_that_cannot_be_tidied_is_told_at_start(tmp_path: Path) -> None:
    """What is there and is no file of this staging stops the start rather than be touched."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailableError):
        await FileMediaStaging(tmp_path).__aenter__()
    assert (tmp_path / "folder").exists()


async def test_removes_what_a_crash_left_behind(tmp_path: Path) -> None:
    """Files of an earlier life are gone at start."""
    (tmp_path / "leftover").write_bytes(b"secret")
    async with FileMediaStaging(tmp_path):
        assert list(tmp_path.iterdir()) == []
