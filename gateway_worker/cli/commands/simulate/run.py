"""``gateway-worker simulate run``: the simulator in the foreground."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.text import Text

from gateway_worker.cli.exits import CommandError, UsageError
from gateway_worker.cli.options import DEFAULT_SIMULATOR_FILE, JsonOption, SimulatorFileOption, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail

if TYPE_CHECKING:
    from gateway_worker.simulator.runner import Simulator

commands = typer.Typer()

PortOption = Annotated[
    int, typer.Option(metavar="PORT", min=0, max=65535, help="Port on loopback that clients connect to. 0: any.")
]
ControlPortOption = Annotated[
    int, typer.Option(metavar="PORT", min=0, max=65535, help="Port on loopback of the control API. 0: any.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log who connects and what they do.")]


@commands.command("run", epilog=examples("simulate run", "simulate run --file /tmp/simulator.json"))
def run_(
    *,
    file: SimulatorFileOption = DEFAULT_SIMULATOR_FILE,
    port: PortOption = 0,
    control_port: ControlPortOption = 0,
    verbose: VerboseOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the simulator until Ctrl-C. It writes the file by which workers and the other commands find it.

    All it knows is in memory: phones, contacts and links are gone when it ends.
    """
    simulate_run(file, port=port, control_port=control_port, verbose=verbose, as_json=as_json)


def simulate_run(file: Path, *, port: int = 0, control_port: int = 0, verbose: bool, as_json: bool) -> None:
    """Run the simulator until SIGINT or SIGTERM. Raises typer.Exit."""
    output = Output(as_json=as_json)
    try:
        # Here, because what it needs comes with an extra that a gateway in production does without.
        from gateway_worker.simulator.errors import InvalidError  # noqa: PLC0415
        from gateway_worker.simulator.runner import serve  # noqa: PLC0415
        from gateway_worker.simulator.settings import SimulatorSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        hint = "install the simulator's extra: pip install 'gateway-worker[simulator]'"
        fail(output, UsageError(f"the simulator is not installed: there is no module {error.name}", hint=hint))
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = SimulatorSettings(file=file, port=port, control_port=control_port)
        uvloop.run(serve(settings, lambda simulator: _announce(output, file, simulator)))
    except InvalidError as error:
        fail(output, UsageError(str(error)))
    except OSError as error:
        fail(output, CommandError(f"the simulator cannot start: {error}"))


def _announce(output: Output, file: Path, simulator: Simulator) -> None:
    """Say that clients are taken now, and what to do next."""
    if output.as_json:
        output.json_line({"event": "ready", "file": str(simulator.file), "control": simulator.control_target})
        return
    elsewhere = "" if file == DEFAULT_SIMULATOR_FILE else f" --file {file}"
    output.out.print(Text.assemble(("ready", "bold green"), f", found by {file}. In other terminals:"))
    for line in (
        f"GATEWAY_SIMULATOR={file} gateway-worker serve",
        f"gateway-worker simulate phone add 6281200000001{elsewhere}",
        f"gateway-worker simulate contact add 6281300000001 --echo{elsewhere}",
        "gateway-worker pair alpha --create",
        f"gateway-worker simulate scan 6281200000001 --session alpha{elsewhere}",
        "gateway-worker send text alpha +6281300000001 'Hello'",
    ):
        output.out.print(Text(f"  {line}", style="cyan"))
