"""The data directory: its layout, its one owner, what it refuses."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from gateway_worker.adapters.filesystem.data_dir import DataDirectory
from gateway_worker.adapters.filesystem.errors import DataDirectoryError, DataDirectoryInUseError
from tests.support.limits import file_size_limit

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from gateway_worker.adapters.filesystem.data_dir import DataDirectory
with DataDirectory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_makes_a_private_layout(tmp_path: Path) -> None:
    """Every folder is the owner's alone, also where it was there already; a restart finds the same."""
    root = tmp_path / "not" / "there"
    with DataDirectory(root) as data:
        folders = (data.root, data.sessions, data.spool, data.media, data.staging)
        assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders)
        assert data.database == root / "gateway.db"
        assert stat.S_IMODE((root / "lock").stat().st_mode) == 0o600
        data.sessions.chmod(0o755)
        (data.sessions / "kept").write_bytes(b"x")
    with DataDirectory(root) as data:
        assert stat.S_IMODE(data.sessions.stat().st_mode) == 0o700
        assert (data.sessions / "kept").exists()


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are absolute: engines are started with another working directory."""
    monkeypatch.chdir(tmp_path)
    assert DataDirectory(Path("data")).staging == tmp_path / "data" / "media" / "staging"


async def test_a_second_worker_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The refusal names the directory and the other's process id; a killed worker leaves no lock behind."""
    first = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(tmp_path)), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert first.stdout is not None
    assert await first.stdout.readline() == b"held\n"
    with pytest.raises(DataDirectoryInUseError) as caught, DataDirectory(tmp_path):
        pytest.fail("two workers own one directory")
    assert caught.value.pid == first.pid
    assert str(tmp_path) in str(caught.value)
    assert f"pid {first.pid}" in str(caught.value)

    first.kill()
    await first.wait()
    with DataDirectory(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_after_the_end(tmp_path: Path) -> None:
    """Also within one process a directory has one owner at a time."""
    with DataDirectory(tmp_path):
        with pytest.raises(DataDirectoryInUseError, match=f"pid {os.getpid()}"):
            DataDirectory(tmp_path).__enter__()
        with pytest.raises(DataDirectoryInUseError):  # the refusal above did not drop the lock
            DataDirectory(tmp_path).__enter__()
    with DataDirectory(tmp_path):
        pass


@pytest.mark.parametrize(
    ("path", "message"),
    [("file", "a file where a directory must be"), ("file/below", "a file where a directory must be")],
)
def test_a_file_in_its_place(tmp_path: Path, path: str, message: str) -> None:
    """A file is not mistaken for a directory."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataDirectoryError, match=message):
        DataDirectory(tmp_path / path).__enter__()


def test_a_place_that_takes_no_files() -> None:
    """Where the kernel lets nobody make a directory, the error names the place."""
    with pytest.raises(DataDirectoryError, match="/sys/gateway"):
        DataDirectory(Path("/sys/gateway")).__enter__()


def test_a_disk_with_too_little_room(tmp_path: Path) -> None:
    """It is refused before anything depends on it, and the lock is free again."""
    with pytest.raises(DataDirectoryError, match="MiB are needed"):
        DataDirectory(tmp_path, minimum_free=2**70).__enter__()
    with DataDirectory(tmp_path):
        pass


def test_a_disk_that_refuses_writes(tmp_path: Path) -> None:
    """Free space that cannot be written is found out at start, not by the first message."""
    with file_size_limit(0), pytest.raises(DataDirectoryError, match="file too large"):
        DataDirectory(tmp_path).__enter__()
    with DataDirectory(tmp_path):
        pass
