"""The root command: what there is, and what happens to an error that nobody expected."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Final

import typer
from typer.core import TyperGroup

from gateway_worker.cli.exits import EXIT_CODES_HELP, ExitCode
from gateway_worker.cli.lazy import LazyCommand

PROGRAM: Final = "gateway-worker"
TRACEBACK_VARIABLE: Final = "GATEWAY_TRACEBACK"

_SERVERS: Final = "Run"
_CLIENTS: Final = "Use a running worker"

_COMMANDS: Final = (
    LazyCommand(
        "demo",
        module="gateway_worker.cli.demo",
        summary="See the main job from end to end, offline: link, send, receive, survive a crash.",
        panel=_SERVERS,
    ),
    LazyCommand(
        "serve",
        module="gateway_worker.cli.commands.serve",
        summary="Run the worker: the gRPC API and the engines behind it.",
        panel=_SERVERS,
    ),
    LazyCommand(
        "simulate",
        module="gateway_worker.cli.commands.simulate",
        summary="Run a WhatsApp server of your own on loopback, and play its phones and contacts.",
        panel=_SERVERS,
    ),
    LazyCommand(
        "sessions",
        module="gateway_worker.cli.commands.sessions",
        summary="List, show, create, connect, disconnect, log out and delete sessions.",
        panel=_CLIENTS,
    ),
    LazyCommand(
        "pair",
        module="gateway_worker.cli.commands.pair",
        summary="Link a session to a phone: draw its QR code here and wait for the scan.",
        panel=_CLIENTS,
    ),
    LazyCommand(
        "send",
        module="gateway_worker.cli.commands.send",
        summary="Send a text or an image.",
        panel=_CLIENTS,
    ),
    LazyCommand(
        "events",
        module="gateway_worker.cli.commands.events",
        summary="Show what happened to sessions, or follow it live.",
        panel=_CLIENTS,
    ),
    LazyCommand(
        "health",
        module="gateway_worker.cli.commands.health",
        summary="Ask whether the worker is alive and ready.",
        panel=_CLIENTS,
    ),
)

_app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Every command has a --help with examples. {EXIT_CODES_HELP}",
)


def _show_version(value: bool) -> None:  # noqa: FBT001 - the signature that typer calls
    if value:
        from importlib.metadata import version  # noqa: PLC0415 - costs 40 ms that only --version needs to spend

        typer.echo(f"{PROGRAM} {version('gateway-worker')}")
        raise typer.Exit


@_app.callback()
def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """WhatsApp Gateway Worker: link WhatsApp accounts, send through them, and follow everything on one stream.

    New here? [bold]gateway-worker demo[/bold] shows it all in a minute, without a phone and without an account.
    """


def commands() -> TyperGroup:
    """Return the root command with every sub-command in place."""
    group = typer.main.get_command(_app)
    if not isinstance(group, TyperGroup):  # a callback makes it one
        raise TypeError("the root command is no group")
    for command in _COMMANDS:
        group.add_command(command)
    return group


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; always ends with :class:`SystemExit`.

    Args:
        arguments: Arguments after the program's name; None: those of the process.
    """
    try:
        commands().main(args=arguments, prog_name=PROGRAM)
    except Exception as error:  # noqa: BLE001 - the last stop: users get one line instead of a traceback
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        else:
            summary = " ".join(f"{type(error).__name__}: {error}".split())
            sys.stderr.write(f"internal error: {summary}\n  set {TRACEBACK_VARIABLE}=1 to see where it happened\n")
        sys.exit(ExitCode.INTERNAL)
