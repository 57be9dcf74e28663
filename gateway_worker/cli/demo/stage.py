"""How the demo looks: numbered scenes, one line a step, and pauses where a person wants to look."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

_CALL_WIDTH: Final = 17


class Stage:
    """Shows the demo.

    Args:
        console: Where.
        interactive: A person watches: pauses are made and lines change in place. Otherwise nothing waits or moves.
    """

    def __init__(self, console: Console, *, interactive: bool) -> None:
        self.console = console
        self.interactive = interactive
        self.scene_name = ""
        self._scenes = 0

    def scene(self, name: str) -> None:
        """Begin a scene."""
        self._scenes += 1
        self.scene_name = name
        self.console.print()
        self.console.rule(Text(f"{self._scenes}  {name}", style="bold"), align="left", style="dim")

    def step(self, call: str, what: RenderableType) -> None:
        """Say what happened.

        Args:
            call: The RPC, or the program, that did it. Calls of the simulator's control API, which a backend does not
                have, are marked with an asterisk.
            what: One sentence.
        """
        self.console.print(_row(call, what))

    def show(self, view: RenderableType) -> None:
        """Show something large."""
        self.console.print(view)

    async def pause(self, seconds: float) -> None:
        """Give a person time to look; nothing when nobody watches."""
        if self.interactive:
            await asyncio.sleep(seconds)

    @contextmanager
    def waiting(self, what: str) -> Generator[None, None, None]:
        """Show that something takes its time."""
        if not self.interactive:
            yield
            return
        with self.console.status(Text(what, style="dim")):
            yield

    @contextmanager
    def changing(self, call: str) -> Generator[ChangingLine, None, None]:
        """Show a step whose outcome comes bit by bit: in place for a person, else once it is complete."""
        line = ChangingLine(call)
        if not self.interactive:
            yield line
            self.console.print(line)
            return
        with Live(line, console=self.console, auto_refresh=False) as live:
            line.live = live
            yield line


class ChangingLine:
    """A step that grows."""

    def __init__(self, call: str) -> None:
        self.live: Live | None = None
        self._call = call
        self._parts = Text()

    def add(self, part: Text) -> None:
        """Add to what is shown."""
        if self._parts:
            self._parts.append("  →  ", style="dim")
        self._parts.append_text(part)
        if self.live is not None:
            self.live.refresh()

    def __rich__(self) -> RenderableType:
        return _row(self._call, self._parts)


def _row(call: str, what: RenderableType) -> Table:
    """Return a line with its columns; what is said is folded within its own."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=_CALL_WIDTH, no_wrap=True, style="cyan")
    row.add_column(overflow="fold")
    row.add_row(f"  {call}", what)
    return row
