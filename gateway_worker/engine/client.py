"""One client of the library: its thread, its callbacks, and what is known of it.

The library's call that runs a client blocks until the client ends, so every client has a thread of its own (trap 1,
docs/neonize-traps.md). On that thread most callbacks arrive, one after the other; the log's come from anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from gateway_worker.engine import codes
from gateway_worker.engine.binding import Callbacks, GoLibrary, make_callbacks
from gateway_worker.engine.codes import Code
from gateway_worker.engine.intake import Intake
from gateway_worker.engine.logs import log_library
from gateway_worker.waproto import companion_reg, neonize
from wagateway.engine.v1 import engine_pb2

logger = logging.getLogger(__name__)

_FIRST_CODE_SECONDS: Final = 60
_CODE_SECONDS: Final = 20
_TOLERANCE: Final = 1.5
_LINKED: Final = "success"
_RAN_OUT: Final = "timeout"
_OUTCOMES: Final = {
    "error": engine_pb2.LINKING_OUTCOME_REFUSED,
    "err-client-outdated": engine_pb2.LINKING_OUTCOME_CLIENT_OUTDATED,
    "err-scanned-without-multidevice": engine_pb2.LINKING_OUTCOME_MULTIDEVICE_DISABLED,
    "err-unexpected-state": engine_pb2.LINKING_OUTCOME_INTERRUPTED,
    "passkey-request": engine_pb2.LINKING_OUTCOME_PASSKEY_REQUIRED,
    "passkey-confirmation": engine_pb2.LINKING_OUTCOME_PASSKEY_REQUIRED,
}
"""Outcomes by whatsmeow's names (``qrchan.go``), which reach Python by the login-status hook only."""

_LOG_LEVEL: Final = "INFO"
_STILL_HANDLING: Final = "in the middle of handling"
_HANDLED: Final = "Failed to send receipt for"
_QUIET: Final = 0.1
_HANDLING: Final = 1.0
"""Seconds of silence after which a client that is disconnected counts as quiet: idle, and while a stanza is handled."""


class Phase(Enum):
    """Where a client's thread is."""

    STARTING = auto()
    """Opening the database or making the first connection."""
    LINKING = auto()
    """Offering QR codes."""
    UNLINKED = auto()
    """Linking ended without a link. The thread waits for a link that will never come (trap 7)."""
    RUNNING = auto()
    """In the loop that hands events over."""
    RETURNED = auto()
    """The thread is gone."""


class Client:
    """A client, from its start to the return of its thread.

    Args:
        number: Number that no other client of this process has. Its decimal digits are the id under which Go knows the
            client: an id is never used twice, so what comes late of an old client is never taken for a new one's.
        handle: The session's handle.
        library: The Go library.
        intake: Takes the events.
        loop: The event loop, on which the callbacks below are called.
        on_login: Called when the client has logged in.
        on_return: Called when the thread has returned, with the library's error text and whether its event loop ran.
        on_trouble: Called when an event cannot be spooled.
    """

    def __init__(
        self,
        number: int,
        handle: str,
        *,
        library: GoLibrary,
        intake: Intake,
        loop: asyncio.AbstractEventLoop,
        on_login: Callable[[Client], None],
        on_return: Callable[[Client, str, bool], None],
        on_trouble: Callable[[Client], None],
    ) -> None:
        self.handle = handle
        self.go_id = str(number).encode()
        self.phase = Phase.STARTING
        self.device = b""
        """neonize's serialized ``Device``, as last seen."""
        self.online = False
        """Whether the last thing that was told about the connection is that it stands."""
        self.ending = False
        """Whether somebody is ending this client; commands are refused from here on."""
        self.threaded = asyncio.Event()
        """Set when the thread was started."""
        self.alive = asyncio.Event()
        """Set at the first sign of life: it is past its writes to the library's maps."""
        self.returned = asyncio.Event()
        """Set when the thread has returned."""
        self.ended = asyncio.Event()
        """Set when nothing more comes of it."""
        self._library = library
        self._intake = intake
        self._loop = loop
        self._on_login = on_login
        self._on_return = on_return
        self._on_trouble = on_trouble
        self._muted = False
        self._busy = False
        self._handling = False
        self._active = 0.0
        self._codes_offered = 0
        self._code_since = 0.0

    def start_thread(self, database: bytes, device_name: str) -> None:
        """Start the client's thread.

        Args:
            database: Data source name of the auth database.
            device_name: Name for the phone's list of devices.
        """
        # Trap 13: the library merges these into one process-wide value, so that the name of the first client to be
        # linked stays. Nothing else is set: the library's own defaults are those of a plain companion.
        props = companion_reg.DeviceProps(os=device_name).SerializeToString()
        # Pinned for the life of the process by make_callbacks: Go may call them at any time (upstream #202).
        callbacks = make_callbacks(self._on_qr, self._on_login_status, self._on_event, self._on_log)
        thread = threading.Thread(
            target=self._run,
            args=(database, props, callbacks),
            name=f"client-{self.go_id.decode()}",
            daemon=True,  # one that never returns must not keep the process from exiting
        )
        thread.start()
        self.threaded.set()

    def is_in(self, *phases: Phase) -> bool:
        """Whether the client is in one of these phases just now; threads move it on."""
        return self.phase in phases

    def is_quiet(self, since: float) -> bool:
        """Whether all that Go took before it was disconnected has come through.

        Go tells when a disconnection finds it handling a stanza, which goes on: a message is decrypted, so that nobody
        can decrypt it again, but not handed over yet. It also tells when that is done, by failing to send the receipt.

        Args:
            since: When it was disconnected, by the monotonic clock.
        """
        if self._busy:
            return False
        silence = time.monotonic() - max(since, self._active)
        return silence >= (_HANDLING if self._handling else _QUIET)

    def mute(self) -> None:
        """Drop what still comes of a client that cannot be stopped."""
        self._muted = True

    def _run(self, database: bytes, props: bytes, callbacks: Callbacks) -> None:
        try:
            error = self._library.run_client(
                self.go_id,
                database,
                device_props=props,
                subscribed=codes.SUBSCRIBED,
                log_level=_LOG_LEVEL,
                callbacks=callbacks,
            )
        except Exception:
            logger.exception("a client's thread failed", extra={"session": self.handle})
            error = "the thread failed"
        self._post(self._note_return, error)

    def _note_return(self, error: str) -> None:
        running = self.phase is Phase.RUNNING
        self.phase = Phase.RETURNED
        self.online = False
        self.alive.set()
        self.returned.set()
        self._on_return(self, error, running)

    def _on_qr(self, text: str) -> None:
        seconds = _CODE_SECONDS if self._codes_offered else _FIRST_CODE_SECONDS
        self._codes_offered += 1
        self._code_since = time.monotonic()
        self._enter(Phase.LINKING)
        if not self._muted and not self.ending:
            offered = engine_pb2.QrOffered(code=text, valid_seconds=seconds)
            self._intake.offer(self.handle, Code.QR, offered.SerializeToString())

    def _on_login_status(self, name: str) -> None:
        # Traps 7 and 8: this hook is the only way to learn how linking ended; the loop that would deliver events does
        # not begin without a link, and whatever the server said meanwhile stays in Go.
        if name == _LINKED:
            return
        outcome = _OUTCOMES.get(name, engine_pb2.LINKING_OUTCOME_UNSPECIFIED)
        if name == _RAN_OUT:  # told for codes that ran out, and for a connection that broke meanwhile
            age = time.monotonic() - self._code_since
            ran_out = any(abs(age - lifetime) < _TOLERANCE for lifetime in (_CODE_SECONDS, _FIRST_CODE_SECONDS))
            outcome = engine_pb2.LINKING_OUTCOME_TIMED_OUT if ran_out else engine_pb2.LINKING_OUTCOME_INTERRUPTED
        self._enter(Phase.UNLINKED)
        self._take(Code.LINKING_ENDED, engine_pb2.LinkingEnded(outcome=outcome).SerializeToString())

    def _on_event(self, code: int, payload: bytes) -> None:
        if code == Code.DEVICE:
            self.device = payload
            self._enter(Phase.RUNNING)
            return
        if code == Code.CONNECTED:
            self.online = True
            payload = self.device
            self._post(self._on_login, self)
        elif code == Code.PAIR_STATUS and self._is_success(payload):
            code, payload = Code.PAIRED, self.device
        elif code in _OFFLINE:
            self.online = False
        self._take(code, payload if code in codes.CONVERTED else b"")

    def _on_log(self, entry: bytes) -> None:
        message = log_library(self.handle, entry)
        if _STILL_HANDLING in message:
            self._handling = True
        elif message.startswith(_HANDLED):
            self._handling = False
        self._active = time.monotonic()

    def _take(self, code: int, payload: bytes) -> None:
        """Hand an event to the intake; it is on disk when this returns, if it is one that is kept."""
        if self._muted:
            return
        if code in codes.EPHEMERAL:
            self._intake.offer(self.handle, code, payload)
            return
        self._busy = True
        try:
            self._intake.spool(self.handle, code, payload, lambda: self._post(self._on_trouble, self))
        finally:
            self._active = time.monotonic()
            self._busy = False

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._post(self.alive.set)

    def _post(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the engine is on its way out
            logger.debug("a client outlived the loop")

    @staticmethod
    def _is_success(payload: bytes) -> bool:
        return neonize.PairStatus.FromString(payload).Status == neonize.PairStatus.SUCCESS


_OFFLINE: Final = frozenset(
    {
        Code.DISCONNECTED,
        Code.LOGGED_OUT,
        Code.STREAM_REPLACED,
        Code.TEMPORARY_BAN,
        Code.CONNECT_FAILURE,
        Code.CLIENT_OUTDATED,
    }
)
"""Kinds of events after which the connection does not stand."""
