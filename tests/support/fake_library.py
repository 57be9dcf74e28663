"""A Go library without Go: clients that do what a test tells them, through the real ctypes callbacks."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any, cast

from gateway_worker.engine.binding import Callbacks, GoLibrary
from gateway_worker.engine.codes import Code
from gateway_worker.waproto import neonize

DEVICE = neonize.Device(
    JID=neonize.JID(User="6281200000001", RawAgent=0, Device=3, Integrator=0, Server="s.whatsapp.net"),
    LID=neonize.JID(User="200000000000001", RawAgent=0, Device=0, Integrator=0, Server="lid"),
    Platform="android",
    BussinessName="",
    PushName="",
    Initialized=True,
).SerializeToString()
"""A linked device whose name is not known yet."""


class FakeRun:
    """One client's thread, in the hands of the test."""

    def __init__(self, client: bytes, callbacks: Callbacks) -> None:
        self.client = client
        self._callbacks = callbacks
        self._over = threading.Event()
        self.begun = threading.Event()
        """Set when the script was run."""
        self.error = ""

    def event(self, code: int, payload: bytes = b"") -> None:
        """Deliver an event as Go does; an empty payload comes as NULL."""
        buffer = ctypes.create_string_buffer(payload, len(payload)) if payload else None
        address = ctypes.addressof(buffer) if buffer is not None else None
        self._callbacks.event(self.client, address, len(payload), code)

    def qr(self, text: str) -> None:
        """Offer a QR code."""
        self._callbacks.qr(self.client, text.encode())

    def login_status(self, name: str) -> None:
        """Tell an outcome of linking."""
        self._callbacks.login_status(self.client, name.encode())

    def log(self, entry: neonize.LogEntry) -> None:
        """Log a line."""
        data = entry.SerializeToString()
        buffer = ctypes.create_string_buffer(data, len(data))
        self._callbacks.log(ctypes.addressof(buffer), len(data))

    def enter_loop(self) -> None:
        """Begin to hand events over, as a linked client does."""
        self.event(Code.DEVICE, DEVICE)

    def end(self, error: str = "") -> None:
        """Let the thread return."""
        self.error = error
        self._over.set()

    def wait(self) -> str:
        """Block until ended."""
        self._over.wait(30)
        return self.error


class FakeLibrary:
    """Stands in for :class:`GoLibrary`.

    Args:
        script: Called on each client's thread with its run, before the thread blocks.
    """

    def __init__(self, script: Callable[[FakeRun], None] = FakeRun.enter_loop) -> None:
        self.runs: dict[bytes, FakeRun] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}
        self._script = script

    @property
    def typed(self) -> GoLibrary:
        """This, as what the engine takes."""
        return cast("GoLibrary", self)

    def run_client(self, client: bytes, database: bytes, *, callbacks: Callbacks, **options: object) -> str:
        """Run the script, then block until the client is stopped."""
        self.calls.append(("run_client", client, database, options))
        run = self.runs[client] = FakeRun(client, callbacks)
        self._script(run)
        run.begun.set()
        return run.wait()

    def stop(self, client: bytes) -> None:
        """Stop a client."""
        self.calls.append(("stop", client))
        self.runs[client].end()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Any:
            self.calls.append((name, *args, *kwargs.values()))
            answer = self.answers.get(name)
            return answer(*args, **kwargs) if callable(answer) else answer

        return call
