"""Runs a module as ``python -m`` does, and ends it when whoever started it is gone.

``python -m gateway_worker.cli.tied MODULE ARGUMENTS…`` with a pipe as its standard input. The starter holds the other
end and never writes. However it ends, SIGKILL included, the kernel closes that end; the module is then sent SIGTERM,
and drains as it would for an operator.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _end_with_stdin() -> None:
    """Wait until the other end of standard input is closed, then ask this process to end."""
    # Not through sys.stdin: its lock, held by a thread that never returns, would abort the interpreter's shutdown.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the module that the arguments name."""
    sys.argv = sys.argv[1:]
    threading.Thread(target=_end_with_stdin, name="wait for the end of the starter", daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
