"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_TARGET: Final = "127.0.0.1:50051"
"""Where ``serve`` listens unless told otherwise."""

DEFAULT_SIMULATOR_FILE: Final = Path("data/simulator.json")
"""Where ``simulate`` writes how it is reached, unless told otherwise."""


def examples(*commands: str) -> str:
    """Return the end of a help text: example calls, without the program's name, a line each."""
    lines = [f"gateway-worker {command}" for command in commands]
    return "\n".join(["Example:" if len(lines) == 1 else "Examples:", *lines])


TargetOption = Annotated[
    str,
    typer.Option(
        "--target", envvar="GATEWAY_TARGET", metavar="HOST:PORT", help="The worker's API.", rich_help_panel="Common"
    ),
]

JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON as protobuf maps it: one document a result, one line an event. Errors too, to stderr.",
        rich_help_panel="Common",
    ),
]

SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.", show_default=False)]

SimulatorFileOption = Annotated[
    Path,
    typer.Option(
        "--file",
        envvar="GATEWAY_SIMULATOR",
        metavar="FILE",
        help="The JSON file in which the simulator says how it is reached.",
        rich_help_panel="Common",
    ),
]
