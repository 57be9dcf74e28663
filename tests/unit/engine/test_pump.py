"""Delivery of events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from gateway_worker.engine.addresses import AddressFinder
from gateway_worker.engine.codes import Code
from gateway_worker.engine.convert.users import AddressBook
from gateway_worker.engine.failures import CommandFailedError
from gateway_worker.engine.health import HealthMonitor, process_health
from gateway_worker.engine.host import Host
from gateway_worker.engine.intake import QUEUE_LENGTH, Intake, Wakeup
from gateway_worker.engine.names import NameFinder
from gateway_worker.engine.pump import MAX_BYTES, MAX_EVENTS, Pump
from gateway_worker.engine.spool.format import Record
from gateway_worker.engine.spool.reader import segments
from gateway_worker.engine.spool.writer import SpoolInUseError, SpoolWriter
from gateway_worker.waproto import neonize
from tests.support.fake_library import DEVICE, FakeLibrary
from wagateway.engine.v1 import engine_pb2


class World:
    """A spool and its pump."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "own"
        self.wakeup = Wakeup(asyncio.get_running_loop())
        self.writer = SpoolWriter(self.folder, self.wakeup, segment_size=4096)
        self.intake = Intake(self.writer, self.wakeup)
        self.book = AddressBook()
        self.asked: list[tuple[str, set[str]]] = []
        self.known: dict[str, str] = {}
        self.pump = Pump(
            "own",
            self.folder,
            writer=self.writer,
            intake=self.intake,
            wakeup=self.wakeup,
            book=self.book,
            find_addresses=self._find,
        )

    async def _find(self, handle: str, lids: Iterable[str]) -> bool:
        self.asked.append((handle, set(lids)))
        for lid in self.known:
            self.book.learn(lid, self.known[lid])
        return bool(self.known)

    def spool(self, count: int, size: int = 1) -> None:
        """Spool events."""
        for _ in range(count):
            self.writer.append(Record("s", 1, Code.STREAM_REPLACED, b"x" * size))


async def collect(pump: Pump, events: int, after: int = 0) -> list[engine_pb2.EventsResponse]:
    """Read a stream until it gave so many events."""
    responses: list[engine_pb2.EventsResponse] = []
    async with asyncio.timeout(5):
        async with contextlib.aclosing(pump.stream(after)) as stream:  # type: ignore[type-var]
            async for response in stream:
                responses.append(response)
                if sum(len(one.events) for one in responses) >= events:
                    break
    return responses


def positions(responses: list[engine_pb2.EventsResponse]) -> list[int]:
    """Positions of all events."""
    return [event.position for response in responses for event in response.events]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A spool and its pump."""
    world = World(tmp_path)
    yield world
    world.writer.close()


async def test_batches_are_bounded(world: World) -> None:
    """At most 256 events and half a MiB in a batch; an event larger than that comes alone."""
    world.spool(MAX_EVENTS + 10)
    world.spool(3, MAX_BYTES)
    responses = await collect(world.pump, MAX_EVENTS + 13)
    assert [len(response.events) for response in responses] == [MAX_EVENTS, 11, 1, 1]
    assert positions(responses) == list(range(1, MAX_EVENTS + 14))
    assert {response.spool_id for response in responses} == {"own"}


async def test_a_stream_begins_where_the_worker_is(world: World) -> None:
    """What the first request names is known; a second stream begins anew at its own position."""
    world.spool(5)
    assert positions(await collect(world.pump, 3, after=2)) == [3, 4, 5]
    assert positions(await collect(world.pump, 2, after=3)) == [4, 5]
    world.spool(1)
    assert positions(await collect(world.pump, 1, after=5)) == [6]


async def test_a_worker_that_knows_more_than_the_disk(world: World) -> None:
    """After a power cut positions go on behind what the worker has, never again under a number that it knows."""
    world.spool(2)
    stream = asyncio.create_task(collect(world.pump, 1, after=40))
    await asyncio.sleep(0.05)
    world.spool(1)
    assert positions(await stream) == [41]


async def test_what_comes_wakes_the_stream(world: World) -> None:
    """An event that comes while the stream waits is sent at once."""
    stream = asyncio.create_task(collect(world.pump, 1))
    await asyncio.sleep(0.05)
    begun = asyncio.get_running_loop().time()
    await asyncio.to_thread(world.spool, 1)
    assert positions(await stream) == [1]
    assert asyncio.get_running_loop().time() - begun < 0.5


async def test_a_newer_stream_ends_the_older(world: World) -> None:
    """Two readers would each get half."""
    older = asyncio.create_task(collect(world.pump, 100))
    await asyncio.sleep(0.05)
    newer = asyncio.create_task(collect(world.pump, 2))
    await asyncio.sleep(0.05)
    world.spool(2)
    assert positions(await newer) == [1, 2]
    assert positions(await older) == []


async def test_acknowledged_segments_go(world: World) -> None:
    """Whole segments are deleted once acknowledged; the backlog is what is left."""
    world.spool(600)
    count = len(segments(world.folder))
    assert count > 2
    assert world.pump.backlog_bytes > 0
    world.pump.acknowledge("own", 500)
    assert len(segments(world.folder)) < count
    assert not world.pump.is_drained
    world.pump.acknowledge("own", 600)
    assert (len(segments(world.folder)), world.pump.backlog_bytes, world.pump.is_drained) == (1, 0, True)
    world.pump.acknowledge("unknown", 1)


async def test_ephemeral_events_have_no_position_and_no_memory(world: World) -> None:
    """They come with position 0, first; the oldest give way when nobody takes them."""
    for number in range(QUEUE_LENGTH + 5):
        offered = engine_pb2.QrOffered(code=str(number))
        world.intake.offer("s", Code.QR, offered.SerializeToString())
    world.spool(1)
    (response,) = await collect(world.pump, QUEUE_LENGTH)
    assert positions([response]) == [0] * QUEUE_LENGTH + [1]
    assert response.events[0].qr.code == "5"


async def test_health_goes_with_the_events(world: World) -> None:
    """A report is sent once, the newest one."""
    world.pump.offer_health(engine_pb2.EngineHealth(threads=1))
    world.pump.offer_health(engine_pb2.EngineHealth(threads=2))
    world.spool(1)
    stream = world.pump.stream(0)
    assert [len((await anext(stream)).events), (await anext(stream)).health.threads] == [1, 2]


async def test_a_dead_engines_spool_is_delivered_once(world: World, tmp_path: Path) -> None:
    """From the position on, under its own id; it is deleted by the last acknowledgement, not before."""
    dead = SpoolWriter(tmp_path / "dead", lambda: None, segment_size=4096)
    for _ in range(200):
        dead.append(Record("s", 1, Code.STREAM_REPLACED, b""))
    dead.close()
    importing = asyncio.create_task(world.pump.import_spool("dead", tmp_path / "dead", 50))
    responses = await collect(world.pump, 150)
    assert {response.spool_id for response in responses} == {"dead"}
    assert positions(responses) == list(range(51, 201))
    again = await collect(world.pump, 150)  # nothing was acknowledged: a new stream gets it all again
    assert positions(again) == positions(responses)
    stream = asyncio.create_task(collect(world.pump, 1000))
    world.pump.acknowledge("dead", 200)
    assert await asyncio.wait_for(importing, 5) == 200
    async with asyncio.timeout(5):
        while (tmp_path / "dead").exists():
            await asyncio.sleep(0.01)
    stream.cancel()


async def test_what_cannot_be_imported(world: World, tmp_path: Path) -> None:
    """The own spool and that of a live engine are refused; a folder that never was is empty."""
    with pytest.raises(CommandFailedError):
        await world.pump.import_spool("own", world.folder, 0)
    live = SpoolWriter(tmp_path / "live", lambda: None)
    with pytest.raises(CommandFailedError):
        await world.pump.import_spool("live", tmp_path / "live", 0)
    with pytest.raises(SpoolInUseError):
        SpoolWriter(tmp_path / "live", lambda: None)
    live.close()
    stream = asyncio.create_task(collect(world.pump, 1))
    assert await asyncio.wait_for(world.pump.import_spool("never", tmp_path / "never", 0), 5) == 0
    stream.cancel()


async def test_unknown_addresses_are_asked_for_once_a_record(world: World) -> None:
    """A LID without a number is looked up, and the event tells what was found."""
    lid = neonize.JID(User="77", RawAgent=0, Device=0, Integrator=0, Server="lid")
    payload = neonize.Presence(From=lid, Unavailable=False, LastSeen=0).SerializeToString()
    world.known["77"] = "62"
    world.intake.offer("s", Code.PRESENCE, payload)
    (response,) = await collect(world.pump, 1)
    assert response.events[0].presence.user.phone_jid == "62@s.whatsapp.net"
    world.intake.offer("s", Code.PRESENCE, payload)
    await collect(world.pump, 1)
    assert world.asked == [("s", {"77"})]


async def test_a_lookup_that_fails_costs_no_event(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that cannot be had is left out."""

    async def fail(_handle: str, _lids: Iterable[str]) -> bool:
        raise OSError("no")

    monkeypatch.setattr(world.pump, "_find_addresses", fail)
    lid = neonize.JID(User="77", RawAgent=0, Device=0, Integrator=0, Server="lid")
    payload = neonize.Presence(From=lid, Unavailable=False, LastSeen=0).SerializeToString()
    world.intake.offer("s", Code.PRESENCE, payload)
    (response,) = await collect(world.pump, 1)
    assert response.events[0].presence.user.lid == "77@lid"


class Clients:
    """A host with one client on a fake library."""

    def __init__(self, world: World) -> None:
        self.library = FakeLibrary()
        self.host = Host(self.library.typed, world.intake, 2)

    async def start(self) -> None:
        """Start the client and wait until it runs."""
        await self.host.start("s", Path("/nowhere/s.db"), "")
        async with asyncio.timeout(5):
            while not self.library.runs or not next(iter(self.library.runs.values())).begun.is_set():
                await asyncio.sleep(0.005)

    def close(self) -> None:
        """Let its threads go."""
        for run in self.library.runs.values():
            run.end()
        self.host.release()


@pytest.fixture
async def clients(world: World) -> AsyncIterator[Clients]:
    """A client that runs."""
    clients = Clients(world)
    await clients.start()
    yield clients
    clients.close()


async def test_the_library_is_asked_for_addresses_of_live_clients(world: World, clients: Clients) -> None:
    """What it knows is learned; what it does not know is not asked for again at once; who is not live is not asked."""
    phone = neonize.JID(User="62", RawAgent=0, Device=0, Integrator=0, Server="s.whatsapp.net")
    nobody = neonize.JID(User="", RawAgent=0, Device=0, Integrator=0, Server="")
    answers = {"77": neonize.GetJIDFromStoreReturnFunction(Jid=phone)}

    def answer(_client: bytes, jid: bytes) -> bytes:
        unknown = neonize.GetJIDFromStoreReturnFunction(Jid=nobody)
        return answers.get(neonize.JID.FromString(jid).User, unknown).SerializeToString()

    clients.library.answers["pn_from_lid"] = answer
    finder = AddressFinder(clients.library.typed, clients.host, world.book)
    assert await finder.find("s", ["77"])
    assert world.book.phone_of("77") == "62"
    for _ in range(3):
        assert not await finder.find("s", ["88"])
    assert not await finder.find("nobody", ["99"])
    assert [call[0] for call in clients.library.calls].count("pn_from_lid") == 2


async def test_health_asks_only_clients_that_can_answer(world: World, clients: Clients) -> None:
    """A client that is told offline is not asked: the library would answer when it is connected again."""
    clients.library.answers.update(is_connected=True, is_logged_in=True)
    monitor = HealthMonitor(clients.library.typed, clients.host, world.pump)
    report = await monitor.report()
    assert list(report.clients) == [engine_pb2.ClientHealth(handle="s")]
    next(iter(clients.library.runs.values())).event(Code.CONNECTED)
    report = await monitor.report()
    assert list(report.clients) == [engine_pb2.ClientHealth(handle="s", connected=True, logged_in=True)]


async def test_a_client_that_does_not_answer_is_asked_once(world: World, clients: Clients) -> None:
    """While a question is open the client counts as not connected, and no second thread is spent on it."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = asyncio.Event()

    def block(_client: bytes) -> bool:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)
        return True

    clients.library.answers.update(is_connected=block, is_logged_in=True)
    next(iter(clients.library.runs.values())).event(Code.CONNECTED)
    monitor = HealthMonitor(clients.library.typed, clients.host, world.pump)
    for _ in range(2):
        report = await monitor.report()
        assert list(report.clients) == [engine_pb2.ClientHealth(handle="s")]
    assert [call[0] for call in clients.library.calls].count("is_connected") == 1
    release.set()
    await asyncio.sleep(0.1)
    assert (await monitor.report()).clients[0].connected


async def test_the_process_describes_itself() -> None:
    """Memory, descriptors and threads are plausible."""
    health = process_health()
    assert health.rss_bytes > 10_000_000
    assert 3 < health.descriptors < health.descriptor_limit
    assert health.threads >= 1


async def test_a_name_is_told_when_it_becomes_known(world: World, clients: Clients) -> None:
    """The login is told again with the display name, once."""
    names = iter(["", "", "Ratna", "other"])

    def get_me(_client: bytes) -> bytes:
        device = neonize.Device.FromString(DEVICE)
        device.PushName = next(names)
        return device.SerializeToString()

    clients.library.answers["get_me"] = get_me
    finder = NameFinder(clients.library.typed, clients.host, world.intake)
    client = clients.host.live("s")
    finder.on_login(client)
    finder.on_login(client)
    (response,) = await collect(world.pump, 1)
    assert response.events[0].logged_in.push_name == "Ratna"
    finder.on_login(client)
    await asyncio.sleep(0.3)
    assert world.writer.last_position == 1
