"""neonize's Go library, as typed functions. Nothing else in this package touches ctypes.

The library is loaded here and not through ``neonize._binder``: that module imports neonize's helpers with five network
clients (21 MB more, and 0.7 s), and downloads a library from the network when the bundled one does not fit. The
prototypes below are those of the exported functions of the version that is pinned (docs/neonize-traps.md tells how they
were checked); another version is refused.

Memory: strings and buffers that Go returns are C allocations of the caller's, copied and freed here. What Go passes to
a callback is valid during the call only, so it is copied before anybody else sees it.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gateway_worker.waproto  # noqa: F401 - registers the bare package whose folder holds the library

logger = logging.getLogger(__name__)

VERSION: Final = "0.5.2"
"""The version of neonize that the prototypes are for."""

MEDIA_IMAGE: Final = 0
"""neonize's number for the image media type."""

COMPOSING: Final = 0
PAUSED: Final = 1
"""neonize's numbers for the states of chat presence."""

TEXT_MEDIA: Final = 0
AUDIO_MEDIA: Final = 1
"""neonize's numbers for what is composed."""

PAIR_CLIENT_CHROME: Final = 1
"""neonize's number for the kind of client that a pairing code is asked for."""

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class LibraryError(Exception):
    """The Go library is not there or is not the one that this code is for."""


class _Buffer(ctypes.Structure):
    """Go's ``struct BytesReturn``."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


_StringCallback = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)
_EventCallback = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)

_pinned: Final[list[object]] = []
"""Every callback ever given to Go: Go may call one at any time, and one that Python collected is a SIGSEGV."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What Go calls for one client, on threads of Go's choosing. Made by :func:`make_callbacks`."""

    qr: Any
    login_status: Any
    event: Any
    log: Any


def make_callbacks(
    qr: Callable[[str], None],
    login_status: Callable[[str], None],
    event: Callable[[int, bytes], None],
    log: Callable[[bytes], None],
) -> Callbacks:
    """Wrap Python functions for one client, for the life of the process.

    Args:
        qr: Takes the text of a QR code.
        login_status: Takes the name of an outcome of linking.
        event: Takes an event's code and its serialized message, which may be empty.
        log: Takes a serialized ``LogEntry``.
    """

    def on_qr(_client: bytes | None, text: bytes | None) -> None:
        _guard(qr, (text or b"").decode(errors="replace"))

    def on_login_status(_client: bytes | None, text: bytes | None) -> None:
        _guard(login_status, (text or b"").decode(errors="replace"))

    def on_event(_client: bytes | None, address: int | None, size: int, code: int) -> None:
        _guard(event, code, ctypes.string_at(address, size) if address and size else b"")

    def on_log(address: int | None, size: int) -> None:
        _guard(log, ctypes.string_at(address, size) if address and size else b"")

    callbacks = Callbacks(
        _StringCallback(on_qr), _StringCallback(on_login_status), _EventCallback(on_event), _LogCallback(on_log)
    )
    _pinned.append(callbacks)
    return callbacks


def _guard(function: Callable[..., None], *arguments: object) -> None:
    """Call a callback; an exception must not run into Go's frames."""
    try:
        function(*arguments)
    except Exception:
        logger.exception("a callback of the client library failed")


def library_path() -> Path:
    """Path of the library that the neonize wheel brings.

    Raises:
        LibraryError: The wheel has none for this machine.
    """
    machine = _MACHINES.get(platform.machine())
    path = Path(sys.modules["neonize"].__path__[0]) / f"neonize-linux-{machine}.so"
    if machine is None or not path.is_file():
        raise LibraryError(f"neonize has no library for Linux on {platform.machine()}: {path} does not exist")
    return path


class GoLibrary:
    """The exported functions that this engine uses. All are thread-safe but for the maps behind them: see ``gate``.

    Functions that return bytes return a serialized message of neonize's protobuf, which carries its own error; those
    that return text return an error's text or nothing. ``client`` is the id under which a client was started. For an
    unknown id all but :meth:`disconnect`, :meth:`is_connected` and :meth:`is_logged_in` may dereference nil, which ends
    the process (trap 17, docs/neonize-traps.md).
    """

    def __init__(self, path: Path) -> None:
        """Load the library; its Go runtime starts threads and copies the environment now.

        Raises:
            LibraryError: It cannot be loaded, or is another version.
        """
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise LibraryError(f"cannot load {path}: {error}") from error
        self._free_buffer = self._prototype("FreeBytesStruct", None, ctypes.POINTER(_Buffer))
        self._free_string = self._prototype("FreeString", None, ctypes.c_void_p)
        version = self._string_function("GetVersion")()
        if version != VERSION:
            raise LibraryError(f"{path} is neonize {version}, this engine is written for {VERSION}")
        text, buffer, size = ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int
        self._neonize = self._string_function(
            "Neonize",
            *(text, text, buffer, size, ctypes.c_int, text),
            *(_StringCallback, _StringCallback, _EventCallback, _LogCallback),
            *(buffer, size, buffer, size, buffer, size, ctypes.c_void_p),
        )
        self._stop = self._prototype("Stop", None, text)
        self._disconnect = self._prototype("Disconnect", None, text)
        self._is_connected = self._prototype("IsConnected", ctypes.c_bool, text)
        self._is_logged_in = self._prototype("IsLoggedIn", ctypes.c_bool, text)
        self._logout = self._string_function("Logout", text)
        self._send_presence = self._string_function("SendPresence", text, text)
        self._send_chat_presence = self._string_function(
            "SendChatPresence", text, buffer, size, ctypes.c_int, ctypes.c_int
        )
        self._send_message = self._buffer_function("SendMessage", text, buffer, size, buffer, size)
        self._upload = self._buffer_function("Upload", text, buffer, size, ctypes.c_int)
        self._pair_phone = self._buffer_function("PairPhone", text, buffer, size)
        self._get_me = self._buffer_function("GetMe", text)
        self._pn_from_lid = self._buffer_function("GetPNFromLID", text, buffer, size)

    def run_client(
        self,
        client: bytes,
        database: bytes,
        *,
        device_props: bytes,
        subscribed: bytes,
        log_level: str,
        callbacks: Callbacks,
    ) -> str:
        """Run a client until it is stopped. Blocks the calling thread, on which most callbacks are made.

        Args:
            client: Id to start it under, never used before.
            database: Data source name of the auth database.
            device_props: Serialized ``DeviceProps``.
            subscribed: The event codes to deliver, a byte each.
            log_level: Lowest level to log: ERROR, WARN, INFO or DEBUG.
            callbacks: What to call.

        Returns:
            What ended it: empty after a stop, else an error's text.
        """
        no_jid, no_phone = b"", b""
        return self._neonize(
            *(database, client, no_jid, 0, 0, log_level.encode()),
            *(callbacks.qr, callbacks.login_status, callbacks.event, callbacks.log),
            *(subscribed, len(subscribed), device_props, len(device_props), no_phone, 0, None),
        )

    def stop(self, client: bytes) -> None:
        """Disconnect a client, forget it and let its thread return. Only for one whose event loop runs."""
        self._stop(client)

    def disconnect(self, client: bytes) -> None:
        """Close a client's connection for good. Waits while a connection is being made."""
        self._disconnect(client)

    def is_connected(self, client: bytes) -> bool:
        """Whether the socket is open. Waits while a connection is being made."""
        return bool(self._is_connected(client))

    def is_logged_in(self, client: bytes) -> bool:
        """Whether the last login was accepted; stays true when the connection is lost."""
        return bool(self._is_logged_in(client))

    def logout(self, client: bytes) -> str:
        """Unlink the device; returns an error's text or nothing."""
        return self._logout(client)

    def send_presence(self, client: bytes, *, available: bool) -> str:
        """Come online or go offline; returns an error's text or nothing."""
        return self._send_presence(client, b"available" if available else b"unavailable")

    def send_chat_presence(self, client: bytes, jid: bytes, state: int, media: int) -> str:
        """Show typing in a chat; returns an error's text or nothing. ``jid`` is a serialized ``JID``."""
        return self._send_chat_presence(client, jid, len(jid), state, media)

    def send_message(self, client: bytes, jid: bytes, message: bytes) -> bytes:
        """Send a message and wait for the server's answer, up to 75 s: a ``SendMessageReturnFunction``."""
        return self._send_message(client, jid, len(jid), message, len(message))

    def upload(self, client: bytes, data: bytes, media: int) -> bytes:
        """Encrypt and upload media: an ``UploadReturnFunction``."""
        return self._upload(client, data, len(data), media)

    def pair_phone(self, client: bytes, parameters: bytes) -> bytes:
        """Ask for a pairing code: a ``PairPhoneReturnFunction``. ``parameters`` is a ``PairPhoneParams``."""
        return self._pair_phone(client, parameters, len(parameters))

    def get_me(self, client: bytes) -> bytes:
        """Who the client is: a ``Device``."""
        return self._get_me(client)

    def pn_from_lid(self, client: bytes, jid: bytes) -> bytes:
        """The phone JID of a LID, as far as the client knows it: a ``GetJIDFromStoreReturnFunction``."""
        return self._pn_from_lid(client, jid, len(jid))

    def _prototype(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        function = getattr(self._library, name)
        function.restype = result
        function.argtypes = arguments
        return function  # type: ignore[no-any-return]  # ctypes makes function objects on attribute access

    def _string_function(self, name: str, *arguments: Any) -> Callable[..., str]:
        raw = self._prototype(name, ctypes.c_void_p, *arguments)

        def call(*values: object) -> str:
            address = raw(*values)
            if not address:
                return ""
            try:
                return ctypes.string_at(address).decode(errors="replace")
            finally:
                self._free_string(address)

        return call

    def _buffer_function(self, name: str, *arguments: Any) -> Callable[..., bytes]:
        raw = self._prototype(name, ctypes.POINTER(_Buffer), *arguments)

        def call(*values: object) -> bytes:
            pointer = raw(*values)
            if not pointer:
                return b""
            try:
                buffer = pointer.contents
                return ctypes.string_at(buffer.data, buffer.size) if buffer.data else b""
            finally:
                self._free_buffer(pointer)

        return call
