"""The end of the demo: what was measured, and what to try while it still runs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gateway_worker.cli.demo.cast import CONTACT, PHONE, SESSION, Demo
from gateway_worker.cli.demo.figures import Figures
from gateway_worker.cli.demo.processes import Children


def summary(figures: Figures) -> RenderableType:
    """Return the figures as a table."""
    table = Table("WHAT", "MEASURED", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value, unit in (
        ("simulator and worker started", figures.start_seconds, "s"),
        ("ConnectSession to the QR code", figures.qr_seconds, "s"),
        ("scan to connected", figures.link_seconds, "s"),
        ("text acknowledged by WhatsApp's server", figures.text_ack_ms, "ms"),
        ("text delivered", figures.delivered_ms, "ms"),
        ("image uploaded and acknowledged", figures.image_ack_ms, "ms"),
        ("answer on the stream", figures.answer_ms, "ms"),
        ("engine killed to connected again", figures.reconnect_seconds, "s"),
    ):
        table.add_row(name, "—" if value is None else f"{value:.{1 if unit == 's' else 0}f} {unit}")
    table.add_row("messages sent / received", f"{figures.messages_sent} / {figures.messages_received}")
    table.add_row("events / lost / repeated", f"{figures.events} / {figures.events_lost} / {figures.events_repeated}")
    return table


def next_steps() -> RenderableType:
    """Return what a newcomer does next, with a real phone."""
    program = _program()
    return Text.assemble(
        ("\nAll of it worked. ", "bold green"),
        "With a real phone, and WhatsApp itself:\n",
        (f"  {program} serve\n", "cyan"),
        (f"  {program} pair my-phone --create", "cyan"),
        "   (in another terminal)\n",
    )


async def invitation(demo: Demo, children: Children) -> None:
    """Leave everything running until Enter is pressed, Ctrl-C, or a process ends; say what to try meanwhile."""
    program = _program()
    demo.stage.show(Text("\nIt all still runs. Try it from another terminal, in this directory:\n", style="bold"))
    for line in (
        f"export GATEWAY_TARGET={demo.target}",
        f"export GATEWAY_SIMULATOR={demo.simulator_file}",
        f"{program} events --follow",
        f"{program} send text {SESSION} +{CONTACT} 'Hello'",
        f"{program} simulate say {CONTACT} {PHONE} 'Hello, too'",
        f"{program} simulate inbox {CONTACT}",
        f"{program} simulate drop {PHONE}",
        f"{program} sessions show {SESSION}",
    ):
        demo.stage.console.print(Text(f"  {line}", style="cyan"), soft_wrap=True)
    demo.stage.show(Text("\nPress Enter to end it."))
    entered = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), entered.set)
    ends = [asyncio.create_task(child.wait(), name=f"end of the {child.name}") for child in children.all]
    ends.append(asyncio.create_task(_true(entered), name="Enter"))
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for each in ends:
            each.cancel()


async def _true(event: asyncio.Event) -> None:
    await event.wait()


def _program() -> str:
    """Return how to call this program from the working directory."""
    if shutil.which("gateway-worker"):
        return "gateway-worker"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)
