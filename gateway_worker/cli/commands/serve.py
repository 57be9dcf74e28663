"""``gateway-worker serve``: the worker itself."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from gateway_worker.app import StartupError, run
from gateway_worker.cli.exits import CommandError, UsageError
from gateway_worker.cli.options import DEFAULT_TARGET, examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.running import fail
from gateway_worker.settings import Settings, SettingsError, load_settings

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog=examples("serve", "serve --json > ready.jsonl")
    + "\nGATEWAY_LISTEN=0.0.0.0:50051 GATEWAY_DATA_DIR=/var/lib/gateway gateway-worker serve"
    + "\nGATEWAY_SIMULATOR=data/simulator.json gateway-worker serve",
)
def serve(
    *,
    as_json: Annotated[
        bool,
        typer.Option("--json", help='Say on stdout, as a line of JSON, when it is ready: {"event": "ready", …}.'),
    ] = False,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C, which let calls under way finish.

    It serves the gRPC API, reconnects the sessions that are meant to be
    connected, and keeps what it knows in ./data. GATEWAY_* variables set it up,
    from the environment or a file .env; .env.example lists them all.
    Logs go to stderr. Ends with 0 after a signal, 1 when it cannot start, 2 when
    a setting is wrong.
    """
    output = Output(as_json=as_json)
    try:
        settings = load_settings()
    except SettingsError as error:
        fail(output, UsageError("settings are wrong", hint=str(error)))
    try:
        run(settings, ready=lambda target: _announce(output, settings, target))
    except StartupError as error:
        fail(output, CommandError(str(error)))


def _announce(output: Output, settings: Settings, target: str) -> None:
    """Say that calls are taken now, and where."""
    if output.as_json:
        output.json_line({"event": "ready", "target": target})
        return
    network = f"the simulator of {settings.simulator}" if settings.simulator else "WhatsApp"
    output.out.print(
        Text.assemble(("ready", "bold green"), f" on {target}, data in {settings.data_dir}, for {network}")
    )
    elsewhere = "" if target == DEFAULT_TARGET else f" --target {target}"
    output.out.print(Text(f"  in another terminal: gateway-worker pair my-phone --create{elsewhere}", style="dim"))
