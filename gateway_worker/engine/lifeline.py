"""Ties the engine's life to the worker's: an engine without a worker must not stay connected to WhatsApp.

The child does it itself: a ``preexec_fn`` would run Python between fork and exec of a threaded parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


class OrphanedError(Exception):
    """The parent died before the child could tie itself to it."""


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies.

    The kernel means the thread that started this process, so a parent must start engines from a thread that lives as
    long as it does: its main thread.

    Args:
        parent: Process id of the parent, as the parent knows it. The request alone would come too late if the parent
            died just before, hence the check afterwards.

    Raises:
        OrphanedError: The parent is another process by now.
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise OrphanedError(f"the parent is process {os.getppid()}, not {parent}")
