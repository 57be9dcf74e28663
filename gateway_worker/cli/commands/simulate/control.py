"""The simulator's control API, found through the file that the simulator wrote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway_worker.cli.channels import connect
from gateway_worker.cli.exits import UnreachableError, UsageError
from wagateway.simulator.v1 import simulator_pb2_grpc

CONTROL_TIMEOUT: Final = 30.0
"""Seconds for a call to the simulator; scanning a code takes the longest, as it waits for the client's login."""

_HINT: Final = "start it with: gateway-worker simulate\nelsewhere? name its file with --file or GATEWAY_SIMULATOR"


def control_target(file: Path) -> str:
    """Return the address of the control API that a simulator's file names.

    Raises:
        UnreachableError: There is no such file: no simulator runs, or it wrote another one.
        UsageError: The file is not a simulator's, or its server has no control API.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreachableError(f"no simulator: there is no file {file}", hint=_HINT) from None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{file} is not a file that gateway-worker simulate wrote: it is no JSON") from None
    target = document.get("control") if isinstance(document, dict) else None
    if not isinstance(target, str) or not target:
        raise UsageError(
            f'{file} names no control API ("control")', hint="only gateway-worker's own simulator has phones to play"
        )
    return target


@asynccontextmanager
async def control_api(file: Path) -> AsyncIterator[simulator_pb2_grpc.SimulatorServiceAsyncStub]:
    """Connect to the control API of the simulator that wrote a file. Raises UnreachableError, UsageError."""
    async with connect(control_target(file), what="the simulator", hint=_HINT) as channel:
        yield simulator_pb2_grpc.SimulatorServiceStub(channel)
