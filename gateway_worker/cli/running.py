"""Running a command's coroutine, and ending with its exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import NoReturn

import typer
from grpc import aio

from gateway_worker.cli.exits import CommandError
from gateway_worker.cli.output import Output
from gateway_worker.cli.refusals import error_view, refusal


def run(output: Output, command: Coroutine[None, None, None]) -> None:
    """Run a command to its end; report its error, if it has one.

    Ctrl-C cancels the coroutine, which closes calls and connections; the exit code is then 130.

    Raises:
        typer.Exit: It failed; carries the exit code.
    """
    try:
        asyncio.run(command)
    except CommandError as error:
        fail(output, error)
    except aio.AioRpcError as error:
        problem = refusal(error)
        output.error(problem.document(), view=problem.view())
        raise typer.Exit(problem.exit_code) from None


def fail(output: Output, error: CommandError) -> NoReturn:
    """Report an error and end with its exit code. Raises typer.Exit."""
    output.error({"message": error.message, "hint": error.hint}, view=error_view(error))
    raise typer.Exit(error.exit_code) from None
