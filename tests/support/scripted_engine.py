"""An engine without WhatsApp: speaks the engine contract, spools to disk, and misbehaves on demand.

Run as a program, with an engine's own options and ``--script JSON``; see :class:`Script`. What it does with a message
is said by the message's text (the methods ``_on_…``), and what it does with a client by the client's handle (``_start``
and ``_stop``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from grpc import aio

from wagateway.engine.v1 import engine_pb2, engine_pb2_grpc
from wagateway.worker.v1 import content_pb2, event_pb2

_LENGTH = struct.Struct("<I")
_READ_SIZE = 256  # events a batch


@dataclass(frozen=True, slots=True)
class Script:
    """How the engine misbehaves.

    Attributes:
        record: File to which start, environment and arguments are appended as a line of JSON.
        deaths_at_start: How many engines end at their start; counted in ``record``.
        never_ready: Whether it never listens.
        prints: Lines it prints to stdout at its start.
        complains: Lines it prints to stderr at its start.
        rss_bytes: Resident memory that it reports.
        descriptors: Open files that it reports, of 1000.
        health_interval: Seconds between reports; 0: one report only.
        import_failure: Whether it says that spools are unreadable.
        deaths_at_import: How many engines die while they import; counted in ``record``.
        exit_code: With what it ends when it is told to.
        survives_shutdown: Whether it answers a shutdown and then lives on.
    """

    record: str
    deaths_at_start: int = 0
    never_ready: bool = False
    prints: list[str] = field(default_factory=list)
    complains: list[str] = field(default_factory=list)
    rss_bytes: int = 0
    descriptors: int = 0
    health_interval: float = 0.05
    import_failure: bool = False
    deaths_at_import: int = 0
    exit_code: int = 0
    survives_shutdown: bool = False

    def note(self, what: str, **facts: object) -> None:
        """Append to the record."""
        with Path(self.record).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "pid": os.getpid(), **facts}) + "\n")

    def count(self, what: str) -> int:
        """How often something is in the record."""
        with Path(self.record).open(encoding="utf-8") as file:
            return sum(json.loads(line)["what"] == what for line in file)


class Spool:
    """Events in one file of length-prefixed messages. ``head`` is the position of the newest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.head = 0
        self._file = (folder / "events").open("ab", buffering=0)

    def append(self, event: engine_pb2.EngineEvent) -> None:
        """Number an event and write it."""
        self.head += 1
        event.position = self.head
        data = event.SerializeToString()
        self._file.write(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @staticmethod
    def read(folder: Path) -> list[engine_pb2.EngineEvent]:
        """All events in a spool's folder."""
        data = (folder / "events").read_bytes()
        events, offset = [], 0
        while offset < len(data):
            (length,) = _LENGTH.unpack_from(data, offset)
            offset += _LENGTH.size
            events.append(engine_pb2.EngineEvent.FromString(data[offset : offset + length]))
            offset += length
        return events


class ScriptedEngine(engine_pb2_grpc.EngineServiceServicer):
    """The contract, scripted. ``over`` is set when the process is to end."""

    def __init__(self, engine_id: str, spool: Spool, script: Script) -> None:
        self._id = engine_id
        self._spool = spool
        self._script = script
        self._clients: set[str] = set()
        self._outgoing: asyncio.Queue[engine_pb2.EventsResponse] = asyncio.Queue()
        self._answers: asyncio.Queue[engine_pb2.ControlResponse] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()

    async def Control(  # noqa: N802 - the name is the contract's
        self,
        request_iterator: AsyncIterator[engine_pb2.ControlRequest],
        context: object,
    ) -> AsyncIterator[engine_pb2.ControlResponse]:
        """Serve commands."""
        self._spawn(self._serve(request_iterator))
        while True:
            yield await self._answers.get()

    async def Events(  # noqa: N802 - the name is the contract's
        self,
        request_iterator: AsyncIterator[engine_pb2.EventsRequest],
        context: object,
    ) -> AsyncIterator[engine_pb2.EventsResponse]:
        """Send events and reports."""
        opening = await anext(aiter(request_iterator))
        self._script.note("opened", spool=opening.spool_id, position=opening.position)
        self._spawn(self._report())
        self._spawn(self._note_acknowledgements(request_iterator))
        while True:
            yield await self._outgoing.get()

    async def _note_acknowledgements(self, requests: AsyncIterator[engine_pb2.EventsRequest]) -> None:
        async for request in requests:
            self._script.note("acknowledged", spool=request.spool_id, position=request.position)

    async def _report(self) -> None:
        health = engine_pb2.EngineHealth(
            rss_bytes=self._script.rss_bytes, descriptors=self._script.descriptors, descriptor_limit=1000
        )
        while True:
            self._outgoing.put_nowait(engine_pb2.EventsResponse(health=health))
            if not self._script.health_interval:
                return
            await asyncio.sleep(self._script.health_interval)

    async def _serve(self, requests: AsyncIterator[engine_pb2.ControlRequest]) -> None:
        async for request in requests:
            command = request.WhichOneof("command")
            assert command is not None
            response = engine_pb2.ControlResponse(call_id=request.call_id)
            getattr(self, f"_{command}")(getattr(request, command), response)
            if response.WhichOneof("result"):
                self._answers.put_nowait(response)
        self.over.set()

    def _start(self, command: engine_pb2.StartSession, response: engine_pb2.ControlResponse) -> None:
        """Start a client. ``…refused``: refuse. ``…deadly``: die. ``…wedged``: never answer."""
        handle = command.handle
        self._script.note("start", handle=handle, engine=self._id, database=command.database_path)
        if handle.endswith("refused"):
            self._emit(handle, client_ended=engine_pb2.ClientEnded())
            response.failure.kind = engine_pb2.FAILURE_KIND_INTERNAL
        elif handle.endswith("deadly"):
            _die()
        elif not handle.endswith("wedged"):
            self._clients.add(handle)
            self._emit(handle, logged_in=engine_pb2.LoggedIn(jid="1@s.whatsapp.net"))
            response.done.spooled = self._spool.head

    def _stop(self, command: engine_pb2.StopSession, response: engine_pb2.ControlResponse) -> None:
        """Stop a client, with a last event. ``…stuck``: never answer. ``…unstoppable``: refuse."""
        handle = command.handle
        self._script.note("stop", handle=handle, engine=self._id)
        if handle.endswith("unstoppable"):
            response.failure.kind = engine_pb2.FAILURE_KIND_INTERNAL
        elif not handle.endswith("stuck"):
            if handle in self._clients:
                self._clients.discard(handle)
                self._emit(handle, connection_lost=engine_pb2.ConnectionLost())
            response.done.spooled = self._spool.head

    def _logout(self, command: engine_pb2.LogoutSession, response: engine_pb2.ControlResponse) -> None:
        self._clients.discard(command.handle)
        self._emit(command.handle, logged_out=engine_pb2.LoggedOut())
        response.done.spooled = self._spool.head

    def _pair_phone(self, _command: engine_pb2.PairPhone, response: engine_pb2.ControlResponse) -> None:
        response.pairing_code.code = "ABCD-EFGH"

    def _presence(self, _command: engine_pb2.SendPresence, response: engine_pb2.ControlResponse) -> None:
        response.done.spooled = self._spool.head

    def _chat_presence(self, _command: engine_pb2.SendChatPresence, response: engine_pb2.ControlResponse) -> None:
        response.done.spooled = self._spool.head

    def _shutdown(self, _command: engine_pb2.Shutdown, response: engine_pb2.ControlResponse) -> None:
        self._script.note("shutdown", engine=self._id)
        response.done.spooled = self._spool.head
        if not self._script.survives_shutdown:
            asyncio.get_running_loop().call_later(0.05, self.over.set)

    def _import_spool(self, command: engine_pb2.ImportSpool, response: engine_pb2.ControlResponse) -> None:
        self._script.note("import", spool=command.spool_id, after=command.after)
        if self._script.count("import") <= self._script.deaths_at_import:
            _die()
        if self._script.import_failure:
            response.failure.kind = engine_pb2.FAILURE_KIND_INTERNAL
            return
        events = Spool.read(Path(command.path))
        wanted = [event for event in events if event.position > command.after]
        for first in range(0, len(wanted), _READ_SIZE):
            batch = wanted[first : first + _READ_SIZE]
            self._outgoing.put_nowait(engine_pb2.EventsResponse(spool_id=command.spool_id, events=batch))
        response.done.spooled = len(events)

    def _send(self, command: engine_pb2.SendMessage, response: engine_pb2.ControlResponse) -> None:
        """Send a message; where its text begins with a verb of :data:`_VERBS`, do that."""
        text = command.content.text.text
        response.sent.message_id = f"ID-{text}"
        verb, _, rest = text.partition(" ")
        if verb in _VERBS:
            getattr(self, f"_on_{verb}")(command.handle, rest, response)

    def _on_die(self, _handle: str, _rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``die``: die of SIGKILL."""
        _die()

    def _on_burst(self, handle: str, rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``burst N``: spool N messages. ``burst N die``: and die before they are sent."""
        count, _, end = rest.partition(" ")
        for number in range(int(count)):
            self._emit(handle, send=not end, message=_message(f"{handle}#{number}"))
        if end:
            _die()

    def _on_refuse(self, _handle: str, _rest: str, response: engine_pb2.ControlResponse) -> None:
        """``refuse``: as WhatsApp's server does."""
        response.failure.kind = engine_pb2.FAILURE_KIND_REFUSED
        response.failure.server_code = 463

    def _on_late(self, _handle: str, rest: str, response: engine_pb2.ControlResponse) -> None:
        """``late N``: answer after N seconds. ``late``: never."""
        answer = engine_pb2.ControlResponse()
        answer.CopyFrom(response)
        response.ClearField("sent")
        if rest:
            asyncio.get_running_loop().call_later(float(rest), self._answers.put_nowait, answer)

    def _on_type(self, handle: str, _rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``type``: an event that is not spooled."""
        event = engine_pb2.EngineEvent(handle=handle, chat_presence=event_pb2.ChatPresence())
        self._outgoing.put_nowait(engine_pb2.EventsResponse(events=[event]))

    def _on_end(self, handle: str, _rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``end``: the client ends by itself."""
        self._clients.discard(handle)
        self._emit(handle, client_ended=engine_pb2.ClientEnded())

    def _on_link(self, handle: str, _rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``link``: a phone links the device."""
        self._emit(handle, paired=engine_pb2.Paired(jid="1@s.whatsapp.net"))

    def _on_flood(self, _handle: str, rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``flood N``: print N lines."""
        sys.stdout.write(("x" * 200 + "\n") * int(rest))
        sys.stdout.flush()

    def _on_wedge(self, _handle: str, _rest: str, _response: engine_pb2.ControlResponse) -> None:
        """``wedge``: say nothing any more."""
        os.kill(os.getpid(), signal.SIGSTOP)

    def _on_hang_up(self, _handle: str, _rest: str, response: engine_pb2.ControlResponse) -> None:
        """``hang_up``: end the streams without an answer."""
        response.ClearField("sent")
        self.over.set()

    def _emit(self, handle: str, *, send: bool = True, **kind: object) -> None:
        event = engine_pb2.EngineEvent(handle=handle, **kind)  # type: ignore[arg-type]  # one field by its name
        self._spool.append(event)
        if send:
            self._outgoing.put_nowait(engine_pb2.EventsResponse(spool_id=self._id, events=[event]))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_VERBS = frozenset(name.removeprefix("_on_") for name in vars(ScriptedEngine) if name.startswith("_on_"))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _message(text: str) -> engine_pb2.MessageArrived:
    content = content_pb2.Content(text=content_pb2.TextContent(text=text))
    return engine_pb2.MessageArrived(message=event_pb2.MessageReceived(content=content), raw=b"raw")


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", required=True)
    for option in ("--id", "--socket", "--spool", "--parent", "--max-sessions"):
        parser.add_argument(option, required=True)
    parser.add_argument("--simulator")
    options = parser.parse_args()
    script = Script(**json.loads(options.script))
    script.note("engine", id=options.id, environment=dict(os.environ), arguments=sys.argv)
    for stream, lines in ((sys.stdout, script.prints), (sys.stderr, script.complains)):
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    if script.count("engine") <= script.deaths_at_start:
        sys.exit(7)
    if script.never_ready:
        await asyncio.sleep(3600)
    server = aio.server()
    engine = ScriptedEngine(options.id, Spool(Path(options.spool)), script)
    engine_pb2_grpc.add_EngineServiceServicer_to_server(engine, server)
    server.add_insecure_port(f"unix:{options.socket}")
    await server.start()
    await engine.over.wait()
    await server.stop(0)
    if script.survives_shutdown:
        await asyncio.sleep(3600)
    sys.exit(script.exit_code)


if __name__ == "__main__":
    asyncio.run(_main())
