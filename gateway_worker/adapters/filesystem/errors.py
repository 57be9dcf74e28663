"""What can be wrong with the data directory at start-up, written for the operator."""

from __future__ import annotations

from pathlib import Path


class DataDirectoryError(Exception):
    """The worker cannot start on this data directory.

    Args:
        path: The directory.
        message: What is wrong and what to do.
    """

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        super().__init__(f"cannot use the data directory {path}: {message}.")


class DataDirectoryInUseError(DataDirectoryError):
    """Another worker runs on it.

    Args:
        path: The directory.
        pid: Process id of the other worker, None when it did not get to write it.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        other = f"another worker (pid {pid})" if pid else "another worker"
        super().__init__(
            path, f"{other} runs on it. Stop that one, or give this one a directory of its own in GATEWAY_DATA_DIR"
        )
