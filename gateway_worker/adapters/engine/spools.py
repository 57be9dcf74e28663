"""The folders in which engines keep events until the journal has them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

_FINISHED = ".done"  # everything in it is in the journal, and it is being deleted
_BROKEN = ".broken"  # could not be imported; kept for somebody to look at


class SpoolDirectory:
    """The folder that holds one folder an engine, named by the engine's id. All calls block shortly.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def prepare(self) -> None:
        """Make the folder if there is none, for this user only. Raises OSError."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, spool_id: str) -> Path:
        """Folder of a spool."""
        return self._root / spool_id

    def create(self, spool_id: str) -> Path:
        """Make the folder of a new spool. Raises OSError."""
        path = self.path(spool_id)
        path.mkdir(mode=0o700)
        return path

    def left_over(self) -> list[str]:
        """Ids of the spools that are not deleted yet, oldest first; those whose deletion was interrupted are empty."""
        folders = [entry for entry in self._root.iterdir() if entry.is_dir() and entry.suffix != _BROKEN]
        folders.sort(key=lambda folder: (folder.stat().st_mtime, folder.name))
        return [folder.name.removesuffix(_FINISHED) for folder in folders]

    def is_empty(self, spool_id: str) -> bool:
        """Whether there is nothing to import: no folder, or no byte in it."""
        return not any(file.is_file() and file.stat().st_size for file in self.path(spool_id).rglob("*"))

    def discard(self, spool_id: str) -> None:
        """Delete a spool whose events are all in the journal. Raises OSError.

        It is renamed first: a crash on the way never leaves half a spool that would be imported.
        """
        path, finished = self.path(spool_id), self._root / f"{spool_id}{_FINISHED}"
        with contextlib.suppress(FileNotFoundError):  # the engine that imported it may have deleted it meanwhile
            path.rename(finished)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(finished)

    def set_aside(self, spool_id: str) -> Path:
        """Rename a spool that cannot be imported; return where it is kept. Raises OSError."""
        kept = self._root / f"{spool_id}{_BROKEN}"
        self.path(spool_id).rename(kept)
        return kept
