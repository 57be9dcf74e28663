"""Real neonize clients, bare: a child process that hosts sessions and does what it is told by JSON lines.

It is the client that the simulator is tested with, and the yardstick of the benchmark: nothing lies between a command
and the Go core but one thread. It must be started with ``HTTPS_PROXY``, ``SSL_CERT_FILE`` and ``NEONIZE_BOT_TAG`` in
its environment, which the Go runtime reads once; ``bare_client`` does that. Databases must exist, in WAL mode, before
it opens them.

A command is a line ``{"id": 1, "op": "send", "session": "a", …}``; it is answered by ``{"reply": 1, …}``, or by
``{"reply": 1, "error": "…"}``. What happens by itself is a line ``{"event": "message", "session": "a", …}``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

_EVENTS: Final = {
    2: "paired",
    3: "connected",
    4: "keepalive_timeout",
    6: "logged_out",
    7: "replaced",
    8: "temporary_ban",
    9: "connect_failure",
    10: "client_outdated",
    11: "stream_error",
    12: "disconnected",
    17: "message",
    18: "receipt",
    19: "typing",
    20: "presence",
    44: "undecryptable",
}
_START_TIMEOUT: Final = 20.0  # seconds
_QUIET_AFTER: Final = 30.0  # seconds that the last messages of a benchmark may take to arrive


class Output:
    """Writes JSON lines, one at a time, to what was the standard output: the Go core prints to it as it likes."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def write(self, line: dict[str, Any]) -> None:
        """Write one line."""
        text = json.dumps(line, separators=(",", ":"))
        with self._lock:
            self._file.write(text + "\n")
            self._file.flush()


class Core:
    """The Go core, loaded, trusting the simulator.

    Args:
        address: The simulator's address file.
    """

    def __init__(self, address: Path) -> None:
        from gateway_worker import waproto  # noqa: PLC0415  # registers the bare package first
        from gateway_worker.engine.root_key import install_root_key  # noqa: PLC0415

        from neonize import _binder  # isort: skip  # noqa: PLC0415

        self.proto = waproto.neonize
        self.e2e = waproto.e2e
        chrome = waproto.companion_reg.DeviceProps.CHROME
        self.device_props = waproto.companion_reg.DeviceProps(os="Bare", platformType=chrome).SerializeToString()
        self.binder: Any = _binder
        self.go: Any = _binder.gocode
        root = bytes.fromhex(json.loads(address.read_text(encoding="utf-8"))["root"])
        install_root_key(root, Path(self.go._name))

    def jid(self, text: str) -> bytes:
        """Serialize a JID: ``user@server``."""
        user, _, server = text.rpartition("@")
        jid = self.proto.JID(User=user, RawAgent=0, Device=0, Integrator=0, Server=server, IsEmpty=False)
        return bytes(jid.SerializeToString())


def jid_text(jid: Any) -> str:
    """Write a neonize JID as WhatsApp does."""
    device = f":{jid.Device}" if jid.Device else ""
    return f"{jid.User}{device}@{jid.Server}" if jid.User else str(jid.Server)


class Session:
    """One client.

    Args:
        name: Its name in commands and events.
        database: Path of its SQLite file.
        core: The Go core.
        output: Where events go.
    """

    def __init__(self, name: str, database: str, core: Core, output: Output) -> None:
        self.name = name
        self.key = name.encode()
        self.received: Counter[str] = Counter()
        self.quiet = False
        self._core = core
        self._output = output
        self._started = threading.Event()
        binder = core.binder
        # The Go core keeps these pointers for the life of the process, so this object must live as long.
        self._callbacks = (
            binder.func_string(self._on_code),
            binder.func_string(self._on_status),
            binder.func_callback_bytes(self._on_event),
            binder.func_callback_bytes2(self._on_log),
        )
        self._database = f"{database}?_foreign_keys=on&_journal_mode=WAL&_busy_timeout=10000&_pad=".encode()
        self._thread = threading.Thread(target=self._run, name=f"session-{name}", daemon=True)

    def start(self) -> bool:
        """Start the client and wait for its first sign of life; False when there was none in time."""
        self._thread.start()
        return self._started.wait(_START_TIMEOUT)

    def _run(self) -> None:
        code, status, event, log = self._callbacks
        kinds = bytes(_EVENTS)
        props = self._core.device_props
        error = self._core.go.Neonize(
            self._database, self.key, b"", 0, 0, b"ERROR", code, status, event, log,
            kinds, len(kinds), props, len(props), b"", 0, None,
        )  # fmt: skip
        self._emit("ended", error=error.decode())
        self._started.set()

    def _emit(self, event: str, **values: Any) -> None:
        self._output.write({"event": event, "session": self.name} | values)

    def _on_code(self, _key: int, code: int) -> None:
        self._emit("code", code=ctypes.string_at(code).decode())
        self._started.set()

    def _on_status(self, _key: int, status: int) -> None:
        self._emit("login_status", status=ctypes.string_at(status).decode())

    def _on_log(self, data: int, size: int) -> None:
        entry = self._core.proto.LogEntry.FromString(ctypes.string_at(data, size))
        sys.stderr.write(f"{self.name} {entry.Name} {entry.Level}: {entry.Message}\n")

    def _on_event(self, _key: bytes, data: int, size: int, kind: int) -> None:
        name = _EVENTS.get(kind)
        if name is None:
            return
        self.received[name] += 1
        if name == "connected":
            self._started.set()
        if self.quiet:
            return
        raw = ctypes.string_at(data, size)
        describe = getattr(self, f"_describe_{name}", None)
        self._emit(name, **(describe(raw) if describe else {}))

    def _describe_message(self, raw: bytes) -> dict[str, Any]:
        message = self._core.proto.Message.FromString(raw)
        info = message.Info
        return self._describe_source(info.MessageSource) | {
            "id": info.ID,
            "push_name": info.Pushname,
            "text": message.Message.conversation or message.Message.extendedTextMessage.text,
            "content": message.Message.SerializeToString().hex(),
        }

    def _describe_receipt(self, raw: bytes) -> dict[str, Any]:
        receipt = self._core.proto.Receipt.FromString(raw)
        kind = self._core.proto.Receipt.ReceiptType.Name(receipt.Type).lower()
        return self._describe_source(receipt.MessageSource) | {"ids": list(receipt.MessageIDs), "type": kind}

    def _describe_typing(self, raw: bytes) -> dict[str, Any]:
        typing = self._core.proto.ChatPresence.FromString(raw)
        composing = typing.State == self._core.proto.ChatPresence.COMPOSING
        return self._describe_source(typing.MessageSource) | {"composing": composing}

    def _describe_presence(self, raw: bytes) -> dict[str, Any]:
        presence = self._core.proto.Presence.FromString(raw)
        return {"sender": jid_text(presence.From), "available": not presence.Unavailable}

    @staticmethod
    def _describe_source(source: Any) -> dict[str, Any]:
        return {
            "chat": jid_text(source.Chat),
            "sender": jid_text(source.Sender),
            "sender_alt": jid_text(source.SenderAlt),
            "from_me": source.IsFromMe,
        }

    def send(self, to: bytes, message: bytes) -> Any:
        """Send a serialized message to a serialized JID; returns neonize's answer."""
        raw = self._core.go.SendMessage(self.key, to, len(to), message, len(message))
        answer = self._core.proto.SendMessageReturnFunction.FromString(raw)
        if answer.Error:
            raise RuntimeError(answer.Error)
        return answer.SendResponse


class Child:
    """Takes commands.

    Args:
        core: The Go core.
        output: Where replies and events go.
    """

    def __init__(self, core: Core, output: Output) -> None:
        self._core = core
        self._output = output
        self._sessions: dict[str, Session] = {}
        self._starts = threading.Lock()

    def serve(self) -> None:
        """Take commands until the standard input ends, each on a thread of its own."""
        with ThreadPoolExecutor(max_workers=256, thread_name_prefix="command") as pool:
            for line in sys.stdin:
                pool.submit(self._answer, json.loads(line))

    def _answer(self, command: dict[str, Any]) -> None:
        reply = {"reply": command.pop("id")}
        operation = command.pop("op")
        try:
            result = getattr(self, f"_op_{operation}")(**command)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            result = {"error": f"{type(error).__name__}: {error}"}
        self._output.write(reply | (result or {}))

    def _op_start(self, session: str, database: str) -> dict[str, Any]:
        # Concurrent starts write one unguarded Go map, and hang; a stopped session's object must stay alive.
        with self._starts:
            created = self._sessions.get(session)
            if created is not None:
                raise ValueError(f"session {session} has been started")
            client = self._sessions[session] = Session(session, database, self._core, self._output)
            return {"started": client.start()}

    def _op_stop(self, session: str) -> None:
        with self._starts:
            self._core.go.Disconnect(self._sessions[session].key)
            self._core.go.Stop(self._sessions[session].key)

    def _op_send(self, session: str, to: str, text: str = "", content: str = "") -> dict[str, Any]:
        message = bytes.fromhex(content) or self._core.e2e.Message(conversation=text).SerializeToString()
        response = self._sessions[session].send(self._core.jid(to), message)
        return {"message_id": response.ID, "timestamp": response.Timestamp}

    def _op_upload(self, session: str, data: str) -> dict[str, Any]:
        raw = bytes.fromhex(data)
        image = 0
        answer = self._core.proto.UploadReturnFunction.FromString(
            self._core.go.Upload(self._sessions[session].key, raw, len(raw), image)
        )
        if answer.Error:
            raise RuntimeError(answer.Error)
        upload = answer.UploadResponse
        content = self._core.e2e.Message(
            imageMessage=self._core.e2e.ImageMessage(
                URL=upload.url,
                directPath=upload.DirectPath,
                mediaKey=upload.MediaKey,
                fileEncSHA256=upload.FileEncSHA256,
                fileSHA256=upload.FileSHA256,
                fileLength=upload.FileLength,
                mimetype="image/jpeg",
            )
        )
        return {"content": content.SerializeToString().hex()}

    def _op_download(self, session: str, content: str) -> dict[str, Any]:
        raw = bytes.fromhex(content)
        answer = self._core.proto.DownloadReturnFunction.FromString(
            self._core.go.DownloadAny(self._sessions[session].key, raw, len(raw))
        )
        if answer.Error:
            raise RuntimeError(answer.Error)
        return {"data": answer.Binary.hex()}

    def _op_typing(self, session: str, to: str, *, composing: bool) -> None:
        jid = self._core.jid(to)
        state = 0 if composing else 1
        self._check(self._core.go.SendChatPresence(self._sessions[session].key, jid, len(jid), state, 0))

    def _op_presence(self, session: str, state: str) -> None:
        self._check(self._core.go.SendPresence(self._sessions[session].key, state.encode()))

    def _op_subscribe(self, session: str, to: str) -> None:
        jid = self._core.jid(to)
        self._check(self._core.go.SubscribePresence(self._sessions[session].key, jid, len(jid)))

    def _op_logout(self, session: str) -> None:
        self._check(self._core.go.Logout(self._sessions[session].key))

    def _op_registered(self, session: str, number: str) -> dict[str, Any]:
        answer = self._core.proto.IsOnWhatsAppReturnFunction.FromString(
            self._core.go.IsOnWhatsApp(self._sessions[session].key, number.encode())
        )
        if answer.Error:
            raise RuntimeError(answer.Error)
        users = [{"jid": jid_text(user.JID), "registered": user.IsIn} for user in answer.IsOnWhatsAppResponse]
        return {"users": users}

    def _op_state(self, session: str) -> dict[str, Any]:
        key = self._sessions[session].key
        return {"connected": self._core.go.IsConnected(key), "logged_in": self._core.go.IsLoggedIn(key)}

    @staticmethod
    def _check(error: bytes) -> None:
        if error:
            raise RuntimeError(error.decode())

    def _op_bench(self, ring: list[list[str]], messages: int, text: str) -> dict[str, Any]:
        """Let each session send to its peer, each as fast as its own sends go one after the other.

        Args:
            ring: Pairs of a session and the JID that it sends to.
            messages: Messages that each session sends, after one that opens the Signal session.
            text: What they say.
        """
        sessions = [self._sessions[name] for name, _ in ring]
        message = self._core.e2e.Message(conversation=text).SerializeToString()
        barrier = threading.Barrier(len(ring) + 1)
        latencies: list[list[float]] = [[] for _ in ring]

        def run(session: Session, to: bytes, taken: list[float]) -> None:
            session.send(to, message)
            barrier.wait()
            for _ in range(messages):
                before = time.perf_counter()
                session.send(to, message)
                taken.append(time.perf_counter() - before)

        for session in sessions:
            session.quiet = True
            session.received.clear()
        with ThreadPoolExecutor(max_workers=len(ring)) as pool:
            runs = [pool.submit(run, self._sessions[name], self._core.jid(to), taken)
                    for (name, to), taken in zip(ring, latencies, strict=True)]  # fmt: skip
            barrier.wait()
            started = time.perf_counter()
            for finished in runs:
                finished.result()
            elapsed = time.perf_counter() - started
        expected = (messages + 1) * len(ring) if len(ring) > 1 else 0
        deadline = time.monotonic() + _QUIET_AFTER
        while sum(session.received["message"] for session in sessions) < expected and time.monotonic() < deadline:
            time.sleep(0.01)
        delivered_after = time.perf_counter() - started
        for session in sessions:
            session.quiet = False
        taken_ms = sorted(1000 * seconds for taken in latencies for seconds in taken)
        return {
            "sends": len(taken_ms),
            "seconds": elapsed,
            "sends_per_second": len(taken_ms) / elapsed,
            "p50_ms": statistics.median(taken_ms),
            "p99_ms": taken_ms[min(len(taken_ms) - 1, len(taken_ms) * 99 // 100)],
            "received": sum(session.received["message"] for session in sessions),
            "received_expected": expected,
            "undecryptable": sum(session.received["undecryptable"] for session in sessions),
            "delivered_after_seconds": delivered_after,
        }


def main() -> None:
    """Load the core and take commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulator", type=Path, required=True, help="the simulator's address file")
    options = parser.parse_args()
    output = Output()
    child = Child(Core(options.simulator), output)
    output.write({"event": "ready", "session": ""})
    child.serve()
    # Threads that wait inside the Go core never return: nothing is left to clean up, and joining them would hang.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
