"""What is shown while a session is being linked: in place on a terminal, line by line elsewhere, or as JSON."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from gateway_worker.cli.exits import UsageError
from gateway_worker.cli.output import Output, to_json
from gateway_worker.cli.pairing.link import PairingView
from gateway_worker.cli.qr import draw
from wagateway.worker.v1 import session_pb2, worker_pb2

_LINES_AROUND: Final = 4
"""Lines that a live view needs besides the code."""

_HOW_TO_SCAN: Final = "On the phone: WhatsApp, Linked devices, Link a device. Then scan:"
_HOW_TO_TYPE: Final = "On the phone: WhatsApp, Linked devices, Link a device, Link with phone number. Then type:"


def code_view(pairing: session_pb2.Pairing, console: Console) -> RenderableType:
    """Draw a code, with what to do with it."""
    if pairing.WhichOneof("code") == "qr":
        code = draw(pairing.qr, console)
        lines: list[RenderableType] = [Text(_HOW_TO_SCAN), code]
        if code.width > console.width:
            lines.append(Text("The window is too narrow for the code: widen it, or use --png FILE.", style="red"))
        return Group(*lines)
    return Group(Text(_HOW_TO_TYPE), Text(f"\n    {pairing.pairing_code}\n", style="bold"))


def time_left(pairing: session_pb2.Pairing, now: datetime) -> str:
    """Say how long a code is valid."""
    seconds = round((pairing.expire_time.ToDatetime(tzinfo=UTC) - now).total_seconds())
    return f"valid for {seconds} s" if seconds > 0 else "waiting for the next code"


class LiveView:
    """One code at a time, renewed in place, with a countdown; for terminals. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._code: RenderableType | None = None
        self._pairing: session_pb2.Pairing | None = None
        self._text = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def offer(self, pairing: session_pb2.Pairing) -> None:
        """Draw the code in place of the one before."""
        self._code, self._pairing = code_view(pairing, self._console), pairing
        if not self._fits(self._code):
            # A live view would cut the code off at the window's edge: print it, and let it scroll.
            self._console.print(self._code)
            self._code = None
        self.tick()

    def withdraw(self) -> None:
        """Take the code off the screen."""
        self._code = self._pairing = None
        self.tick()

    def progress(self, text: str) -> None:
        """Show how far linking got, below the code."""
        self._text = text
        self.tick()

    def tick(self) -> None:
        """Count down."""
        parts: list[RenderableType] = [self._code] if self._code else []
        if self._pairing:
            parts.append(Text(time_left(self._pairing, datetime.now(UTC)), style="dim"))
        elif self._text:
            parts.append(Text(f"{self._text} …", style="dim"))
        self._live.update(Group(*parts), refresh=True)

    def _fits(self, view: RenderableType) -> bool:
        height = len(self._console.render_lines(view))
        return height + _LINES_AROUND <= self._console.height


class LineView:
    """Each code drawn below the one before; for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def offer(self, pairing: session_pb2.Pairing) -> None:
        """Draw the code and say how long it is valid."""
        self._console.print(code_view(pairing, self._console))
        self._console.print(time_left(pairing, datetime.now(UTC)))

    def withdraw(self) -> None:
        """Nothing: what was drawn stays, and the next line says what came of it."""

    def progress(self, text: str) -> None:
        """Print how far linking got."""
        self._console.print(text)

    def tick(self) -> None:
        """Nothing: lines do not count down."""


class JsonView:
    """A line of JSON for each code, as GetPairing answers it."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def offer(self, pairing: session_pb2.Pairing) -> None:
        """Print the code."""
        self._output.json_line(to_json(worker_pb2.GetPairingResponse(pairing=pairing)))

    def withdraw(self) -> None:
        """Nothing: the next line says what came of it."""

    def progress(self, text: str) -> None:
        """Nothing: programs follow the events."""

    def tick(self) -> None:
        """Nothing: the code's line says when it expires."""


class PngFile:
    """Another view's codes, also written to a PNG file that is replaced whole at each renewal.

    Args:
        file: The file.
        view: The view that shows the rest.
    """

    def __init__(self, file: Path, view: PairingView) -> None:
        self._file = file
        self._view = view

    def offer(self, pairing: session_pb2.Pairing) -> None:
        """Write the file, then show the code. Raises UsageError when the file cannot be written."""
        if pairing.png:
            self._write(pairing.png)
        self._view.offer(pairing)

    def withdraw(self) -> None:
        """Remove the file: its code links nothing any more."""
        self._file.unlink(missing_ok=True)
        self._view.withdraw()

    def progress(self, text: str) -> None:
        """Pass it on."""
        self._view.progress(text)

    def tick(self) -> None:
        """Pass it on."""
        self._view.tick()

    def _write(self, png: bytes) -> None:
        """Write beside it and rename, so that a viewer never sees half a code; readable by its owner only."""
        partial = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(png)
            partial.replace(self._file)
        except OSError as error:
            raise UsageError(f"cannot write {self._file}: {error.strerror}") from None
