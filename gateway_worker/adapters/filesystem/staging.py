"""Media bytes on their way to an engine, as files that live as long as the call."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway_worker.domain.errors import StoreUnavailableError

logger = logging.getLogger(__name__)


class FileMediaStaging:
    """Private files in one folder, written and removed off the event loop.

    One thread does both, in the order of the calls: the removal of a file that a cancelled call was still writing
    simply comes after it. Nothing is synced, because a file means nothing once its call is over; what a crash left
    behind is removed on entering.

    Args:
        folder: Exists and belongs to this object alone.

    Raises:
        StoreUnavailableError: On entering: the folder cannot be read or tidied.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="media-staging")

    async def __aenter__(self) -> Self:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._tidy)
        except OSError as error:
            self._thread.shutdown(wait=False)
            raise StoreUnavailableError("the folder for media on their way cannot be tidied") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._thread.shutdown)

    @asynccontextmanager
    async def stage(self, data: bytes) -> AsyncIterator[Path]:
        """See :meth:`gateway_worker.ports.ephemera.MediaStaging.stage`."""
        loop = asyncio.get_running_loop()
        path = self._folder / secrets.token_hex(16)
        try:
            try:
                await loop.run_in_executor(self._thread, _write, path, data)
            except OSError as error:
                raise StoreUnavailableError(
                    "the gateway cannot store the media for sending; nothing was sent", retry_after=1.0
                ) from error
            yield path
        finally:
            await asyncio.shield(loop.run_in_executor(self._thread, _remove, path))

    def _tidy(self) -> None:
        for leftover in self._folder.iterdir():
            leftover.unlink()


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, to set the mode from the first byte on
        file.write(data)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # what the file was for is done, and the next start tidies up
        logger.warning("cannot remove the staged file %s", path.name, exc_info=True)
