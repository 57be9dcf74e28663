"""An engine's surroundings in end-to-end tests: a simulator, its control API, phones and contacts."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.engine_process import EngineProcess, make_database
from wagateway.engine.v1 import engine_pb2
from wagateway.simulator.v1 import simulator_pb2
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub
from wagateway.worker.v1 import content_pb2

if TYPE_CHECKING:
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub

SECRET = bytes(range(32))


@dataclass(frozen=True)
class EngineWorld:
    """A running simulator, its control API, and a folder."""

    simulator: Simulator
    control: SimulatorServiceAsyncStub
    directory: Path

    def engine(self, name: str = "engine", *, acknowledge: bool = True, max_sessions: int = 50) -> EngineProcess:
        """An engine for this simulator, not started yet."""
        return EngineProcess(
            self.directory,
            name=name,
            simulator=self.simulator.file,
            acknowledge=acknowledge,
            max_sessions=max_sessions,
        )

    def database(self, handle: str) -> Path:
        """Path of a session's auth database, made when it is not there."""
        path = self.directory / f"{handle}.db"
        return path if path.exists() else make_database(path)

    async def link(self, engine: EngineProcess, handle: str) -> str:
        """Link a session to a new phone and wait for the login; returns the phone's number."""
        phone = (await self.control.AddPhone(simulator_pb2.AddPhoneRequest(push_name=f"Phone {handle}"))).phone
        await engine.start(handle, self.database(handle))
        offered = await engine.event(handle, "qr")
        await self.control.ScanCode(simulator_pb2.ScanCodeRequest(number=phone.number, code=offered.qr.code))
        await engine.event(handle, "logged_in")
        return phone.number

    async def contact(self, behaviour: simulator_pb2.Behaviour.ValueType) -> str:
        """Create a contact that the simulator plays; returns its number."""
        request = simulator_pb2.AddContactRequest(behaviour=behaviour)
        return (await self.control.AddContact(request)).contact.number

    async def inbox(self, contact: str, count: int = 1) -> list[simulator_pb2.ReceivedMessage]:
        """Wait until a contact was sent this many messages."""
        request = simulator_pb2.ListInboxRequest(contact=contact)
        async with asyncio.timeout(10):
            while len(messages := (await self.control.ListInbox(request)).messages) < count:
                await asyncio.sleep(0.02)
        return list(messages)


@contextlib.asynccontextmanager
async def engine_world(directory: Path) -> AsyncIterator[EngineWorld]:
    """Run a simulator in this process."""
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulatorSettings(file=directory / "simulator.json")))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(simulator.control_target))
        yield EngineWorld(simulator, SimulatorServiceStub(channel), directory)


def jid(number: str) -> str:
    """Phone JID of a number."""
    return f"{number}@s.whatsapp.net"


def text_to(handle: str, number: str, text: str, secret: bytes = SECRET) -> engine_pb2.SendMessage:
    """A command that sends a text."""
    content = content_pb2.Content(text=content_pb2.TextContent(text=text))
    return engine_pb2.SendMessage(handle=handle, chat=jid(number), content=content, message_secret=secret)


def has_text(event: engine_pb2.EngineEvent) -> bool:
    """Whether a message says something: phones send their companions messages that do not."""
    return event.message.message.content.HasField("text")


def texts(events: list[engine_pb2.EngineEvent]) -> list[str]:
    """The texts of the messages among events, in order."""
    return [event.message.message.content.text.text for event in events if has_text(event)]


def secrets_in(path: Path) -> list[bytes]:
    """Message secrets in a session's database."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [key for (key,) in database.execute("SELECT key FROM whatsmeow_message_secrets")]
