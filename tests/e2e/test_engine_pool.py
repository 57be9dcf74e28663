"""The pool with real engines: the client library against the simulator."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.pool import EnginePool
from gateway_worker.ports.engines import ClientSpec, EngineCallError, EngineGoneError
from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.engine_process import make_database
from tests.support.recording_listener import RecordingListener, until
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub
from wagateway.worker.v1 import content_pb2

if TYPE_CHECKING:
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub


class Setting:
    """A pool of real engines, its listener, and the simulator's control API."""

    def __init__(
        self, folder: Path, pool: EnginePool, listener: RecordingListener, control: SimulatorServiceAsyncStub
    ) -> None:
        self.pool = pool
        self.listener = listener
        self.control = control
        self._folder = folder

    def spec(self, handle: str, *, linked: bool) -> ClientSpec:
        """What a client is started with."""
        path = self._folder / f"{handle}.db"
        if not path.exists():
            make_database(path)
        return ClientSpec(handle=handle, database_path=path, device_name="Test", linked=linked)

    def codes(self, handle: str) -> list[str]:
        """QR codes that a client offered."""
        return [event.qr.code for event in self.listener.ephemeral if event.handle == handle and event.HasField("qr")]

    async def link(self, handle: str) -> str:
        """Link a session in the pairing engine and move it to a session engine; returns the phone's number."""
        phone = (await self.control.AddPhone(simulator_pb2.AddPhoneRequest(push_name=handle))).phone
        await self.pool.start(self.spec(handle, linked=False))
        assert self.pool.is_linking_engine(handle)
        await until(lambda: self.codes(handle))
        await self.control.ScanCode(simulator_pb2.ScanCodeRequest(number=phone.number, code=self.codes(handle)[-1]))
        await until(lambda: "logged_in" in self.listener.kinds(handle))
        await self.pool.stop(handle)
        await self.connect(handle)
        assert not self.pool.is_linking_engine(handle)
        return phone.number

    async def connect(self, handle: str) -> None:
        """Start a linked client, trying again while engines are replaced, and wait for its login."""
        logins = self.listener.kinds(handle).count("logged_in")
        async with asyncio.timeout(20):
            while not self.pool.is_live(handle):
                try:
                    await self.pool.start(self.spec(handle, linked=True))
                except EngineGoneError:
                    await asyncio.sleep(0.05)
        await until(lambda: self.listener.kinds(handle).count("logged_in") > logins)

    async def contact(self, behaviour: simulator_pb2.Behaviour.ValueType) -> str:
        """Create a contact that the simulator plays; returns its number."""
        return (await self.control.AddContact(simulator_pb2.AddContactRequest(behaviour=behaviour))).contact.number

    async def inbox(self, contact: str) -> list[str]:
        """Texts that a contact was sent."""
        response = await self.control.ListInbox(simulator_pb2.ListInboxRequest(contact=contact))
        return [message.text for message in response.messages]


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    """A pool of real engines for a simulator in this process."""
    listener = RecordingListener()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulatorSettings(file=tmp_path / "simulator.json")))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(simulator.control_target))
        config = EngineConfig(spool_directory=tmp_path / "spools", simulator=simulator.file)
        pool = await stack.enter_async_context(EnginePool(config, listener))
        yield Setting(tmp_path, pool, listener, SimulatorServiceStub(channel))


def text(handle: str, number: str, body: str) -> engine_pb2.SendMessage:
    """A text message."""
    content = content_pb2.Content(text=content_pb2.TextContent(text=body))
    chat = f"{number}@s.whatsapp.net"
    return engine_pb2.SendMessage(handle=handle, chat=chat, content=content, message_secret=os.urandom(32))


async def test_link_move_send_and_read_the_echo(setting: Setting) -> None:
    """The whole way of a session: pairing engine, session engine, a message out, its echo in, a clean end."""
    await setting.link("shop")
    contact = await setting.contact(simulator_pb2.BEHAVIOUR_ECHO)
    sent = await setting.pool.send(text("shop", contact, "hello"))
    assert sent.message_id
    assert await setting.inbox(contact) == ["hello"]
    await until(lambda: "hello" in setting.listener.texts("shop"))
    await setting.pool.stop("shop")
    with pytest.raises(EngineCallError):
        await setting.pool.send(text("shop", contact, "too late"))
    await setting.pool.drain()
    assert setting.listener.lost == []
    assert len(set(setting.listener.forgotten)) == 2
    assert setting.listener.positions == {}


async def test_an_engine_killed_during_traffic_loses_no_event_and_doubles_none(setting: Setting) -> None:
    """Every echo that reached the spool arrives exactly once; the session is back at once and goes on."""
    await setting.link("shop")
    await setting.link("office")
    contact = await setting.contact(simulator_pb2.BEHAVIOUR_ECHO)
    engine = next(engine for engine in setting.pool.engines() if engine.role == "session")
    assert sorted(engine.clients) == ["office", "shop"]
    acknowledged: list[str] = []
    unknown: list[str] = []

    async def write(handle: str) -> None:
        for number in range(1000):
            body = f"{handle} {number}"
            try:
                await setting.pool.send(text(handle, contact, body))
            except EngineGoneError:
                unknown.append(body)
                return
            except EngineCallError as error:
                if error.failure.kind != engine_pb2.FAILURE_KIND_NOT_LIVE:  # the death came between two sends
                    raise
                return
            acknowledged.append(body)

    writers = [asyncio.create_task(write(handle)) for handle in ("shop", "office")]
    await until(lambda: len(acknowledged) >= 60)
    began = asyncio.get_running_loop().time()
    os.kill(engine.pid, signal.SIGKILL)
    await asyncio.gather(*writers)
    assert len(unknown) <= 2, "one send under way in each session"
    await until(lambda: setting.listener.lost)
    handles, planned, _ = setting.listener.lost[0]
    assert (sorted(handles), planned) == (["office", "shop"], False)
    await asyncio.gather(setting.connect("shop"), setting.connect("office"))
    took = asyncio.get_running_loop().time() - began
    assert took < 5, f"the sessions were back after {took:.1f} s"

    assert set(acknowledged) <= set(await setting.inbox(contact)), "what was acknowledged was delivered"
    positions: dict[str, list[int]] = {}
    for spool, event in setting.listener.events:
        positions.setdefault(spool, []).append(event.position)
    assert all(found == list(range(1, len(found) + 1)) for found in positions.values()), "no gap, no double"
    echoes = setting.listener.texts("shop") + setting.listener.texts("office")
    assert len(echoes) == len(set(echoes))
    assert (await setting.pool.send(text("shop", contact, "after"))).message_id
    await until(lambda: "after" in setting.listener.texts("shop"))


async def test_recycling_moves_sessions_to_a_fresh_engine(setting: Setting) -> None:
    """Planned, without an import, and the sessions log in again."""
    await setting.link("shop")
    contact = await setting.contact(simulator_pb2.BEHAVIOUR_ECHO)
    old = next(engine for engine in setting.pool.engines() if engine.role == "session")
    await setting.pool.recycle(old.engine_id)
    assert setting.listener.lost[0][:2] == (["shop"], True)
    assert not Path(f"/proc/{old.pid}").exists()
    await setting.connect("shop")
    assert (await setting.pool.send(text("shop", contact, "moved"))).message_id
