"""Commands that are imported when they are chosen.

Importing gRPC, the generated stubs and rich takes half a second, which nobody wants to wait for a help text. The root
command therefore lists every command with a summary written down here, and imports its module at the first use.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand


class LazyCommand(TyperCommand):
    """A command, or a group of commands, that lives in a module that is not imported yet.

    Args:
        name: Name on the command line.
        module: Module with the command as a :class:`typer.Typer` named ``app``.
        summary: First line of its help.
        panel: Heading under which the root's help lists it.
    """

    def __init__(self, name: str, *, module: str, summary: str, panel: str) -> None:
        super().__init__(name, help=summary, rich_help_panel=panel)
        self.module = module

    def load(self) -> Any:
        """Import the module; return the command it holds (click's own class, which typer does not name publicly)."""
        app: typer.Typer = importlib.import_module(self.module).app
        command = typer.main.get_command(app)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Let the real command parse its arguments; from here on this stand-in is out of the game."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
