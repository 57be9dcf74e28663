"""Starting and ending clients around the library's traps."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway_worker.engine.client import Phase
from gateway_worker.engine.codes import Code
from gateway_worker.engine.failures import CommandFailedError
from gateway_worker.engine.host import Host
from gateway_worker.engine.intake import Intake
from gateway_worker.engine.spool.format import Record
from gateway_worker.engine.spool.reader import SpoolReader
from gateway_worker.engine.spool.writer import SpoolWriter
from gateway_worker.waproto import neonize
from tests.support.fake_library import DEVICE, FakeLibrary, FakeRun
from wagateway.engine.v1 import engine_pb2


class Disk:
    """``os.write`` on a disk that can be full."""

    def __init__(self) -> None:
        self.full = False

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write, or fail."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)


class World:
    """A host on a fake library."""

    def __init__(self, folder: Path, script: Callable[[FakeRun], None] = FakeRun.enter_loop) -> None:
        self.library = FakeLibrary(script)
        self.disk = Disk()
        self._folder = folder / "spool"
        self._writer = SpoolWriter(self._folder, lambda: None, write=self.disk.write)
        self.intake = Intake(self._writer, lambda: None)
        self.host = Host(self.library.typed, self.intake, 3)

    def records(self) -> list[Record]:
        """What was spooled."""
        return [record for _, record in SpoolReader(self._folder).read(1000, 1 << 20)]

    def codes(self) -> list[int]:
        """The kinds of what was spooled."""
        return [record.code for record in self.records()]

    def close(self) -> None:
        """Let everything go."""
        self.intake.give_up()
        for run in self.library.runs.values():
            run.end()
        self.host.release()
        self._writer.close()

    async def start(self, handle: str = "s") -> FakeRun:
        """Start a client and wait until its thread runs."""
        count = len(self.library.runs)
        await self.host.start(handle, Path("/nowhere/s.db"), "Test")
        await until(lambda: len(self.library.runs) > count)
        run = list(self.library.runs.values())[-1]
        await until(run.begun.is_set)
        return run


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that threads bring about."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A host whose clients are linked."""
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
async def linking(tmp_path: Path) -> AsyncIterator[World]:
    """A host whose clients offer a QR code."""
    world = World(tmp_path, lambda run: run.qr("code"))
    yield world
    world.close()


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[World]:
    """A host whose clients give no sign of life."""
    world = World(tmp_path, lambda _run: None)
    yield world
    world.close()


async def test_events_are_spooled_before_the_callback_returns(world: World) -> None:
    """When a callback returns its event is on disk, under its session; a kind that is not used leaves its fact only."""
    run = await world.start()
    run.event(Code.MESSAGE, b"message")
    run.event(Code.KEEPALIVE_RESTORED)
    run.event(30, b"block list")
    assert [(record.handle, record.code, record.payload) for record in world.records()] == [
        ("s", Code.MESSAGE, b"message"),
        ("s", Code.KEEPALIVE_RESTORED, b""),
        ("s", 30, b""),
    ]


async def test_a_login_carries_who_it_is(world: World) -> None:
    """The library tells who a client is once, before its events; login and link are spooled with it."""
    run = await world.start()
    success = neonize.PairStatus(ID=neonize.JID(), BusinessName="", Platform="", Status=neonize.PairStatus.SUCCESS)
    run.event(Code.PAIR_STATUS, success.SerializePartialToString())
    run.event(Code.CONNECTED, neonize.Connected(status=True).SerializeToString())
    assert [(record.code, record.payload) for record in world.records()] == [
        (Code.PAIRED, DEVICE),
        (Code.CONNECTED, DEVICE),
    ]


async def test_a_stop_waits_for_what_go_took(world: World) -> None:
    """First the connection is closed, then events are waited for, then the client is stopped (trap 5)."""
    run = await world.start()
    world.library.answers["disconnect"] = lambda _client: threading.Timer(
        0.03, run.event, (Code.MESSAGE, b"late")
    ).start()
    await world.host.stop("s")
    assert [call[0] for call in world.library.calls] == ["run_client", "disconnect", "stop"]
    assert world.codes() == [Code.MESSAGE]
    assert world.host.find("s") is None


async def test_a_stop_waits_for_a_message_that_go_is_still_handling(world: World) -> None:
    """A message that is decrypted but not handed over exists nowhere else: Go says so in its log, and is waited for."""
    run = await world.start()

    def log(text: str) -> None:
        run.log(neonize.LogEntry(Message=text, Level="WARN", Name="Client"))

    def disconnect(_client: bytes) -> None:
        log("Closing handler queue loop in the middle of handling <message/>")
        threading.Timer(0.4, run.event, (Code.MESSAGE, b"decrypted")).start()
        threading.Timer(0.45, log, ("Failed to send receipt for 3EB0: websocket not connected",)).start()

    world.library.answers["disconnect"] = disconnect
    begun = time.monotonic()
    await world.host.stop("s")
    assert world.codes() == [Code.MESSAGE]
    assert time.monotonic() - begun < 0.9


async def test_a_client_that_is_linking_is_never_stopped_in_the_library(linking: World) -> None:
    """Stop would crash the process (#201): it is disconnected, left alone, and nothing of it is heard any more."""
    run = await linking.start()
    await until(lambda: linking.host.live("s").phase is Phase.LINKING)
    linking.intake.offer("other", Code.PRESENCE, b"")
    await linking.host.stop("s")
    run.qr("another")
    run.login_status("timeout")
    assert "stop" not in [call[0] for call in linking.library.calls]
    assert linking.records() == []
    assert [record.handle for record in linking.intake.take_ephemeral()] == ["other"]
    again = await linking.start()
    assert again.client != run.client


async def test_starts_keep_their_distance(silent: World) -> None:
    """One client starts at a time; the next follows when it gave a sign of life, or after a quarter of a second."""
    begun = time.monotonic()
    await asyncio.gather(*(silent.host.start(handle, Path("/nowhere/s.db"), "") for handle in "abc"))
    assert 0.45 < time.monotonic() - begun < 2


async def test_starts_do_not_wait_for_a_lively_client(world: World) -> None:
    """A client that gives a sign of life lets the next one start at once."""
    begun = time.monotonic()
    await asyncio.gather(*(world.host.start(handle, Path("/nowhere/s.db"), "") for handle in "abc"))
    assert time.monotonic() - begun < 0.4


async def test_what_cannot_be_started_is_refused(world: World) -> None:
    """A taken handle, one client too many and an unusable path are refused, and change nothing."""
    for handle in "abc":
        await world.start(handle)
    for handle in ("a", "d"):
        with pytest.raises(CommandFailedError):
            await world.host.start(handle, Path("/nowhere/s.db"), "")
    await world.host.stop("a")
    with pytest.raises(CommandFailedError, match="FAILURE_KIND_INTERNAL"):
        await world.host.start("a", Path("relative.db"), "")
    await world.start("a")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("failed to dial whatsapp web websocket: connection refused", engine_pb2.END_REASON_CONNECT_FAILED),
        ("noise handshake failed: EOF", engine_pb2.END_REASON_CONNECT_FAILED),
        ("failed to upgrade database: file is not a database", engine_pb2.END_REASON_DATABASE_UNREADABLE),
        ("failed to query device: no such column", engine_pb2.END_REASON_DATABASE_UNREADABLE),
    ],
)
async def test_a_client_that_cannot_begin_says_why(
    silent: World, error: str, reason: engine_pb2.EndReason.ValueType
) -> None:
    """A first connection that fails, and an unreadable database, end the client with their reason (trap 6)."""
    run = await silent.start()
    run.end(error)
    await until(lambda: silent.host.clients == [])
    (record,) = silent.records()
    assert record.code == Code.CLIENT_ENDED
    assert engine_pb2.ClientEnded.FromString(record.payload).reason == reason


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("TemporaryBan.Code", Code.TEMPORARY_BAN),
        ("ConnectFailure.Reason", Code.CONNECT_FAILURE),
        ("LoggedOut.Reason", Code.LOGGED_OUT),
        ("Receipt.Type", Code.CLIENT_ENDED),
    ],
)
async def test_an_event_that_go_cannot_encode_is_not_silence(world: World, message: str, code: Code) -> None:
    """The client is deaf from there on: it is ended, and the event or the end is told."""
    run = await world.start()
    run.end(f"proto:\u00a0required field neonize.{message} not set")
    await until(lambda: world.host.clients == [])
    assert world.codes() == [code]
    assert "disconnect" in [call[0] for call in world.library.calls]


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("error", engine_pb2.LINKING_OUTCOME_REFUSED),
        ("err-client-outdated", engine_pb2.LINKING_OUTCOME_CLIENT_OUTDATED),
        ("err-scanned-without-multidevice", engine_pb2.LINKING_OUTCOME_MULTIDEVICE_DISABLED),
        ("err-unexpected-state", engine_pb2.LINKING_OUTCOME_INTERRUPTED),
        ("passkey-request", engine_pb2.LINKING_OUTCOME_PASSKEY_REQUIRED),
        ("timeout", engine_pb2.LINKING_OUTCOME_INTERRUPTED),
        ("something new", engine_pb2.LINKING_OUTCOME_UNSPECIFIED),
    ],
)
async def test_every_outcome_of_linking_is_told(
    linking: World, name: str, outcome: engine_pb2.LinkingOutcome.ValueType
) -> None:
    """The login-status hook is the only source of how linking ended."""
    run = await linking.start()
    run.login_status(name)
    (record,) = linking.records()
    assert record.code == Code.LINKING_ENDED
    assert engine_pb2.LinkingEnded.FromString(record.payload).outcome == outcome


async def test_a_success_is_told_by_the_events_only(linking: World) -> None:
    """The hook's success is followed by events; telling it twice would be one too many."""
    run = await linking.start()
    run.login_status("success")
    assert linking.records() == []


async def test_qr_codes_say_how_long_they_are_valid(linking: World) -> None:
    """60 s for the first, 20 s for the others; none is kept."""
    run = await linking.start()
    run.qr("second")
    offered = [engine_pb2.QrOffered.FromString(record.payload) for record in linking.intake.take_ephemeral()]
    assert [(qr.code, qr.valid_seconds) for qr in offered] == [("code", 60), ("second", 20)]
    assert linking.records() == []


async def test_a_full_disk_loses_nothing(world: World) -> None:
    """The event waits in its callback, the client is disconnected, and when there is room it is told, then the end."""
    run = await world.start()
    world.disk.full = True
    callback = threading.Thread(target=run.event, args=(Code.MESSAGE, b"precious"))
    callback.start()
    await until(lambda: ("disconnect", run.client) in world.library.calls)
    await asyncio.sleep(0.2)
    assert callback.is_alive()
    assert ("stop", run.client) not in world.library.calls
    world.disk.full = False
    callback.join(5)
    await until(lambda: world.host.clients == [])
    assert world.codes() == [Code.MESSAGE, Code.CLIENT_ENDED]
    precious, end = world.records()
    assert precious.payload == b"precious"
    ended = engine_pb2.ClientEnded.FromString(end.payload)
    assert ended.reason == engine_pb2.END_REASON_STORAGE_FULL
    assert world.intake.lost == 0


async def test_an_engine_that_must_end_counts_what_it_loses(world: World) -> None:
    """When the disk stays full until the end, the callback is let go and the loss is counted."""
    run = await world.start()
    world.disk.full = True
    callback = threading.Thread(target=run.event, args=(Code.MESSAGE, b"precious"))
    callback.start()
    await until(lambda: ("disconnect", run.client) in world.library.calls)
    world.intake.give_up()
    callback.join(5)
    assert not callback.is_alive()
    await until(lambda: world.host.clients == [])
    assert world.intake.lost == 2  # the message, and the news of the end


async def test_nothing_starts_when_the_engine_closes(world: World) -> None:
    """Closing ends all clients; from then on commands are refused as shutting down."""
    await world.start("a")
    await world.start("b")
    await world.host.close()
    assert world.host.clients == []
    with pytest.raises(CommandFailedError, match="SHUTTING_DOWN"):
        await world.host.start("c", Path("/nowhere/s.db"), "")
    with pytest.raises(CommandFailedError, match="SHUTTING_DOWN"):
        world.host.live("a")


async def test_a_client_knows_when_it_is_offline(world: World) -> None:
    """What is told about the connection decides whether the library may be asked about it."""
    run = await world.start()
    client = world.host.live("s")
    run.event(Code.CONNECTED)
    assert client.online
    run.event(Code.DISCONNECTED, neonize.Disconnected(status=True).SerializeToString())
    assert not client.online


async def test_calls_use_threads_of_their_own(world: World) -> None:
    """Neither a client's thread nor a call runs on the loop's default executor (trap 1)."""
    await world.start()
    world.library.answers["get_me"] = lambda _client: threading.current_thread().name.encode()
    name = await world.host.call(world.library.typed.get_me, world.host.live("s"))
    assert name.startswith(b"call_")
    assert any(thread.name == "client-1" and thread.daemon for thread in threading.enumerate())
