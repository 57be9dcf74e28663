"""Runs a simulator as a process of its own: ``python -m gateway_worker.simulator --file FILE``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.runner import serve
from gateway_worker.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_worker.simulator.runner import Simulator

_USAGE_ERROR = 2


def _announce(simulator: Simulator) -> None:
    line = {"event": "ready", "file": str(simulator.file), "control": simulator.control_target}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a simulator until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gateway_worker.simulator", description=__doc__)
    parser.add_argument("--file", type=Path, required=True, help="where to write the address file")
    parser.add_argument("--port", type=int, default=0, help="port of the proxy on loopback (default: any)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API (default: any)")
    parser.add_argument("--log-level", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = SimulatorSettings(file=options.file, port=options.port, control_port=options.control_port)
    try:
        uvloop.run(serve(settings, _announce))
    except InvalidError as error:
        parser.print_usage(sys.stderr)
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return _USAGE_ERROR
    except OSError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
