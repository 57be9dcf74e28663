"""The command ``demo``: from the start of its processes to its last line."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from grpc import aio
from rich.text import Text

from gateway_worker.cli.channels import worker_api
from gateway_worker.cli.commands.simulate.control import control_api
from gateway_worker.cli.demo.cast import Demo
from gateway_worker.cli.demo.farewell import invitation, next_steps, summary
from gateway_worker.cli.demo.figures import Figures
from gateway_worker.cli.demo.processes import Children
from gateway_worker.cli.demo.recorder import EventRecorder
from gateway_worker.cli.demo.scenes import SCENES
from gateway_worker.cli.demo.stage import Stage
from gateway_worker.cli.exits import CommandError, ExitCode
from gateway_worker.cli.options import examples
from gateway_worker.cli.output import Output
from gateway_worker.cli.refusals import error_view, refusal

SIMULATOR_MODULE: Final = "gateway_worker.simulator"
WORKER_MODULE: Final = "gateway_worker.cli"

app = typer.Typer(rich_markup_mode="rich", add_completion=False)


@app.command("demo", epilog=examples("demo", "demo --once --json"))
def demo_(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="For nobody to watch: no pauses, and it ends by itself.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End the output with one line of JSON: ok, and the figures.")
    ] = False,
) -> None:
    """See the main job from end to end, offline: no phone, no account, no network.

    It starts a simulated WhatsApp and a worker, links a session by QR code,
    sends a text and an image, shows them read, receives the answer, then kills
    the engine and shows the session come back. Ends with 0 when all went well.
    """
    output = Output(as_json=as_json)
    interactive = not once and not as_json and sys.stdin.isatty() and output.out.is_terminal
    play = _Play(output, Stage(output.out, interactive=interactive))
    try:
        code = asyncio.run(play.run())
    except asyncio.CancelledError:  # by SIGTERM or SIGHUP; everything has been cleaned up on the way here
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


class _Play:
    """One performance."""

    def __init__(self, output: Output, stage: Stage) -> None:
        self._output = output
        self._stage = stage
        self._figures = Figures()

    async def run(self) -> ExitCode:
        """Perform, and report a failure; the child processes have ended when this returns or raises."""
        _end_on_signals()
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
            children = Children(Path(folder))
            try:
                await self._perform(children, Path(folder))
            except (CommandError, aio.AioRpcError) as error:
                self._report(error, children)
                self._close(started, error=_message(error))
                return ExitCode.REFUSED
        self._stage.show(next_steps())
        self._close(started)
        return ExitCode.OK

    async def _perform(self, children: Children, folder: Path) -> None:
        stage, figures = self._stage, self._figures
        async with AsyncExitStack() as stack:
            stage.scene("The processes")
            stage.show(Text("  On the left: the call that did it. * is the simulator's control API.", style="dim"))
            started = time.monotonic()
            file = folder / "simulator.json"
            with stage.waiting("the simulator starts"):
                simulator = await stack.enter_async_context(
                    children.running("simulator", SIMULATOR_MODULE, "--file", str(file), settings={})
                )
            stage.step("simulator", "a WhatsApp server on loopback, which the real client believes")
            with stage.waiting("the worker starts"):
                settings = {
                    "GATEWAY_LISTEN": "127.0.0.1:0",
                    "GATEWAY_DATA_DIR": str(folder / "data"),
                    "GATEWAY_SIMULATOR": str(simulator.ready.get("file", file)),
                }
                worker = await stack.enter_async_context(
                    children.running("worker", WORKER_MODULE, "serve", "--json", settings=settings)
                )
            target = str(worker.ready.get("target", ""))
            figures.start_seconds = time.monotonic() - started
            stage.step("worker", f"the gateway, serving gRPC on {target}; its sessions use the simulator")
            api = await stack.enter_async_context(worker_api(target))
            recorder = EventRecorder()
            await stack.enter_async_context(recorder.recording(api))
            demo = Demo(
                stage=stage,
                figures=figures,
                recorder=recorder,
                worker=worker,
                api=api,
                control=await stack.enter_async_context(control_api(file)),
                simulator_file=file,
                target=target,
            )
            for name, acts in SCENES:
                stage.scene(name)
                for act in acts:
                    await act(demo)
            stage.scene("Summary")
            stage.show(summary(figures))
            if stage.interactive:
                await invitation(demo, children)
            with stage.waiting("the worker drains; everything is removed"):
                await stack.aclose()

    def _report(self, error: CommandError | aio.AioRpcError, children: Children) -> None:
        """Say what went wrong, and what the processes said last."""
        view = refusal(error).view() if isinstance(error, aio.AioRpcError) else error_view(error)
        console = self._output.err
        console.print()
        console.print(view)
        for child in children.all:
            console.print(Text(f"\nthe last lines of the {child.name}'s log:", style="bold"))
            for line in child.log_tail() or ["(nothing)"]:
                console.print(Text(f"  {line}", style="dim"), soft_wrap=True)

    def _close(self, started: float, *, error: str = "") -> None:
        """End the output with a line of JSON, if that is asked for."""
        if not self._output.as_json:
            return
        document: dict[str, Any] = {"ok": not error}
        if error:
            document |= {"error": error, "scene": self._stage.scene_name}
        document["seconds"] = round(time.monotonic() - started, 3)
        self._output.json_line(document | self._figures.document())


def _message(error: CommandError | aio.AioRpcError) -> str:
    return refusal(error).message if isinstance(error, aio.AioRpcError) else error.message


def _end_on_signals() -> None:
    """Let SIGTERM and SIGHUP (a closed terminal) cancel the performance, as Ctrl-C does: the children must end."""
    task = asyncio.current_task()
    if task is None:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
