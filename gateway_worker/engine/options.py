"""What an engine is started with, and the checks that come before anything else."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOCKET_PATH_LENGTH: Final = 107
_ROOT_LENGTH: Final = 32
_BOT_TAG: Final = "NEONIZE_BOT_TAG"


class UnusableStartError(Exception):
    """The engine cannot run as it was started; the text says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """Command line of an engine.

    Attributes:
        engine_id: Id of the engine and of its spool.
        socket: Path of the Unix socket to serve on.
        spool: Folder of the spool.
        parent: Process id of the worker.
        simulator: File that describes a simulator; None for WhatsApp.
        max_sessions: Most clients at a time.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    engine_id: str
    socket: Path
    spool: Path
    parent: int
    simulator: Path | None
    max_sessions: int
    log_level: str


@dataclass(frozen=True, slots=True)
class SimulatorFile:
    """Where a simulator is, as ``gateway-worker simulate`` writes it.

    Attributes:
        proxy: URL of its CONNECT proxy.
        ca: PEM file of its certificate authority, resolved.
        root: Public key that signs its Noise certificates, 32 bytes.
    """

    proxy: str
    ca: Path
    root: bytes


def parse_options(arguments: Sequence[str]) -> Options:
    """Parse the command line; exits with status 2 when it is wrong, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway_worker.engine", description="Hosts WhatsApp clients for a worker, which starts it."
    )
    parser.add_argument("--id", required=True, dest="engine_id", help="id of the engine and of its spool")
    parser.add_argument("--socket", required=True, type=Path, help="path of the Unix socket to serve on")
    parser.add_argument("--spool", required=True, type=Path, help="folder of the spool")
    parser.add_argument("--parent", required=True, type=int, help="process id of the worker")
    parser.add_argument("--simulator", type=Path, help="file that describes a simulator (default: WhatsApp)")
    parser.add_argument("--max-sessions", type=int, default=50, help="most clients at a time (default: 50)")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    options = Options(**vars(parser.parse_args(arguments)))
    if options.max_sessions < 1:
        parser.error("--max-sessions must be at least 1")
    if len(str(options.socket).encode()) > _SOCKET_PATH_LENGTH:
        parser.error(f"--socket must be at most {_SOCKET_PATH_LENGTH} bytes long: the kernel takes no longer path")
    return options


def check_environment(environment: Mapping[str, str]) -> None:
    """Check what must be in the environment before the Go library copies it.

    Trap 10: without ``NEONIZE_BOT_TAG=off`` every message to a person is marked as an AI's.

    Raises:
        UnusableStartError: It is not there.
    """
    if environment.get(_BOT_TAG) != "off":
        raise UnusableStartError(f"{_BOT_TAG}=off must be in the environment that the engine is started with")


def read_simulator(path: Path, environment: Mapping[str, str]) -> SimulatorFile:
    """Read a simulator's description and check that the process was started for it.

    Raises:
        UnusableStartError: The file is not one, or the environment names another proxy or authority. Going on would
            mean to talk to WhatsApp where a simulator was asked for.
    """
    try:
        described = json.loads(path.read_text())
        authority = path.parent.joinpath(described["ca"]).resolve()
        simulator = SimulatorFile(described["proxy"], authority, bytes.fromhex(described["root"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableStartError(f"{path} does not describe a simulator: {error}") from error
    if len(simulator.root) != _ROOT_LENGTH:
        raise UnusableStartError(f"{path}: root must be {_ROOT_LENGTH} bytes in hexadecimal")
    if environment.get("HTTPS_PROXY") != simulator.proxy:
        raise UnusableStartError(f"HTTPS_PROXY must be {simulator.proxy} in the environment that the engine starts in")
    if Path(environment.get("SSL_CERT_FILE", "")).resolve() != simulator.ca:
        raise UnusableStartError(f"SSL_CERT_FILE must be {simulator.ca} in the environment that the engine starts in")
    return simulator
