"""Real clients, unmodified, that believe the simulator: pairing, relayed messages, faults."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.bare_client import BareNeonize, ClientError, Event, measure, simulator_process
from wagateway.simulator.v1 import simulator_pb2 as pb
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub

if TYPE_CHECKING:
    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub


@dataclass(frozen=True)
class World:
    """A running simulator, a child with clients, and the control API."""

    simulator: Simulator
    clients: BareNeonize
    control: SimulatorServiceAsyncStub
    directory: Path

    async def link(self, session: str, phone: str = "") -> str:
        """Link a session to a phone, a new one unless it is named; returns the phone's number."""
        if not phone:
            phone = (await self.control.AddPhone(pb.AddPhoneRequest(push_name=f"Phone of {session}"))).phone.number
        await self.clients.pair(session, phone, self.control)
        return phone

    async def text(self, session: str) -> Event:
        """Wait for a session's next message with a text: phones send their companions messages without."""
        return await self.clients.wait_for(session, "message", _has_text)

    async def device(self, phone: str) -> pb.Device:
        """Describe a phone's first linked device."""
        phones = (await self.control.ListPhones(pb.ListPhonesRequest())).phones
        return next(candidate for candidate in phones if candidate.number == phone).devices[0]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A simulator in this process and a child with real clients."""
    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(SimulatorSettings(file=tmp_path / "simulator.json")))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(simulator.control_target))
        clients = await stack.enter_async_context(BareNeonize(simulator.file, tmp_path))
        yield World(simulator, clients, SimulatorServiceStub(channel), tmp_path)


def _has_text(event: Event) -> bool:
    return bool(event["text"])


def _jid(number: str) -> str:
    return f"{number}@s.whatsapp.net"


async def test_two_clients_write_to_each_other(world: World) -> None:
    """A text arrives decrypted under its sender's name and addresses, and its receipt goes back; so does the answer."""
    alice, bob = await world.link("alice"), await world.link("bob")

    sent = await world.clients.call("send", session="alice", to=_jid(bob), text="hello Bob")
    received = await world.text("bob")
    receipt = await world.clients.wait_for(
        "alice", "receipt", lambda event: event["sender_alt"].startswith(f"{bob}:1@")
    )

    assert received["text"] == "hello Bob"
    assert received["id"] == sent["message_id"]
    assert received["push_name"] == "Phone of alice"
    assert received["sender_alt"] == f"{alice}:1@s.whatsapp.net"
    assert received["chat"].endswith("@lid")
    assert receipt["ids"] == [sent["message_id"]]

    await world.clients.call("send", session="bob", to=received["chat"], text="hello Alice")
    answer = await world.text("alice")
    assert answer["text"] == "hello Alice"
    assert answer["sender_alt"] == f"{bob}:1@s.whatsapp.net"


async def test_what_was_sent_meanwhile_arrives_after_a_restart(world: World) -> None:
    """Messages for a client that is away wait, and arrive once, in order, when the stored session is back."""
    await world.link("alice")
    async with BareNeonize(world.simulator.file, world.directory) as other:
        bob = (await world.control.AddPhone(pb.AddPhoneRequest())).phone.number
        await other.pair("bob", bob, world.control)
        await world.clients.call("send", session="alice", to=_jid(bob), text="first")
        await other.wait_for("bob", "message", _has_text)
    texts = [f"while you were away {number}" for number in range(3)]
    for text in texts:
        await world.clients.call("send", session="alice", to=_jid(bob), text=text)
    async with asyncio.timeout(10):
        while (await world.device(bob)).queued < len(texts):  # the API has no event for it
            await asyncio.sleep(0.05)

    async with BareNeonize(world.simulator.file, world.directory) as other:
        await other.start("bob")
        await other.wait_for("bob", "connected")
        arrived = [(await other.wait_for("bob", "message", _has_text))["text"] for _ in texts]
        await world.clients.call("send", session="alice", to=_jid(bob), text="last")
        assert (await other.wait_for("bob", "message", _has_text))["text"] == "last"

    assert arrived == texts


async def test_all_devices_of_an_account_see_a_chat(world: World) -> None:
    """Both companions of a phone get what is sent to it, and each sees what the other one sends."""
    alice, bob = await world.link("alice"), await world.link("bob")
    await world.clients.call("send", session="alice", to=_jid(bob), text="before")
    await world.text("bob")
    await world.link("bob2", bob)

    await world.clients.call("send", session="alice", to=_jid(bob), text="to both")
    assert (await world.text("bob"))["text"] == "to both"
    assert (await world.text("bob2"))["text"] == "to both"

    await world.clients.call("send", session="bob", to=_jid(alice), text="from the first")
    assert (await world.text("alice"))["text"] == "from the first"
    copy = await world.text("bob2")
    assert copy["from_me"]
    assert "from the first" in bytes.fromhex(copy["content"]).decode(errors="replace")
    alice_lid = world.simulator.server.registry.find(alice)
    assert alice_lid is not None
    assert copy["chat"] == f"{alice_lid.account.lid}@lid"


async def test_media_is_relayed_byte_by_byte(world: World) -> None:
    """An image that one client uploads is what the other downloads."""
    await world.link("alice")
    bob = await world.link("bob")
    data = bytes(range(256)) * 2000

    uploaded = await world.clients.call("upload", session="alice", data=data.hex())
    await world.clients.call("send", session="alice", to=_jid(bob), content=uploaded["content"])
    received = await world.clients.wait_for(
        "bob", "message", lambda event: uploaded["content"][:40] in event["content"]
    )
    downloaded = await world.clients.call("download", session="bob", content=received["content"])

    assert bytes.fromhex(downloaded["data"]) == data


async def test_typing_and_presence_are_passed_on(world: World) -> None:
    """Typing shows at the other end; so does presence, once it is subscribed to."""
    alice, bob = await world.link("alice"), await world.link("bob")

    for composing in (True, False):
        await world.clients.call("typing", session="alice", to=_jid(bob), composing=composing)
        typing = await world.clients.wait_for("bob", "typing")
        assert (typing["sender"], typing["composing"]) == (_jid(alice), composing)

    await world.clients.call("subscribe", session="bob", to=_jid(alice))
    assert not (await world.clients.wait_for("bob", "presence"))["available"]
    async with asyncio.timeout(20):
        # The name that a client shows itself under comes from its phone, a moment after linking.
        while True:
            with contextlib.suppress(ClientError):
                await world.clients.call("presence", session="alice", state="available")
                break
            await asyncio.sleep(0.1)
    seen = await world.clients.wait_for("bob", "presence")
    assert (seen["sender"], seen["available"]) == (_jid(alice), True)


async def test_numbers_are_looked_up(world: World) -> None:
    """A client can tell who is on WhatsApp."""
    alice = await world.link("alice")

    for number, registered in ((alice, True), ("6289999999999", False)):
        users = (await world.clients.call("registered", session="alice", number=number))["users"]
        assert [user["registered"] for user in users] == [registered]


@pytest.mark.parametrize("kind", [pb.STREAM_ERROR_KIND_UNAVAILABLE, None], ids=["503", "dropped"])
async def test_a_client_comes_back_after_a_break(world: World, kind: pb.StreamErrorKind.ValueType | None) -> None:
    """A 503 and a cut connection end in a reconnect by the client itself, and nothing is lost."""
    alice, bob = await world.link("alice"), await world.link("bob")

    if kind is None:
        dropped = await world.control.DropConnections(pb.DropConnectionsRequest(phone=bob))
        assert dropped.dropped == 1
    else:
        await world.control.SendStreamError(pb.SendStreamErrorRequest(phone=bob, kind=kind))
    await world.clients.call("send", session="alice", to=_jid(bob), text="during the break")

    await world.clients.wait_for("bob", "disconnected")
    await world.clients.wait_for("bob", "connected")
    assert (await world.text("bob"))["text"] == "during the break"
    assert (await world.device(alice)).connected


async def test_a_replaced_client_stays_away(world: World) -> None:
    """The stream error that says so is understood, and the device stays linked."""
    alice = await world.link("alice")

    await world.control.SendStreamError(pb.SendStreamErrorRequest(phone=alice, kind=pb.STREAM_ERROR_KIND_REPLACED))

    await world.clients.wait_for("alice", "replaced")
    await asyncio.sleep(1)
    assert not (await world.device(alice)).connected
    assert not world.clients.pending("alice", "connected")


async def test_a_second_login_replaces_the_first(world: World) -> None:
    """Two processes with one stored session: the server keeps the newer and tells the older."""
    alice = await world.link("alice")

    async with BareNeonize(world.simulator.file, world.directory) as other:
        await other.start("alice")
        await other.wait_for("alice", "connected")
        await world.clients.wait_for("alice", "replaced")
        assert (await world.device(alice)).connected


async def test_an_unlinked_client_is_logged_out(world: World) -> None:
    """Removing a device on the phone logs its client out for good."""
    alice = await world.link("alice")

    await world.control.UnlinkDevice(pb.UnlinkDeviceRequest(number=alice, device=1))

    await world.clients.wait_for("alice", "logged_out")
    phones = (await world.control.ListPhones(pb.ListPhonesRequest())).phones
    assert [len(phone.devices) for phone in phones if phone.number == alice] == [0]


async def test_a_client_logs_itself_out(world: World) -> None:
    """A logout by the client removes its device from the phone."""
    alice = await world.link("alice")

    await world.clients.call("logout", session="alice")

    phones = (await world.control.ListPhones(pb.ListPhonesRequest())).phones
    assert [len(phone.devices) for phone in phones if phone.number == alice] == [0]


async def test_acks_can_be_delayed_refused_and_withheld(world: World) -> None:
    """Faults hit the phone that they are set for: its sends take long, fail, hang, or vanish."""
    alice, bob = await world.link("alice"), await world.link("bob")
    loop = asyncio.get_running_loop()
    await world.clients.call("send", session="alice", to=_jid(bob), text="warm up")
    await world.text("bob")

    await world.control.SetFaults(pb.SetFaultsRequest(phone=alice, ack_delay=Duration(nanos=700_000_000)))
    started = loop.time()
    await world.clients.call("send", session="alice", to=_jid(bob), text="slowly")
    assert loop.time() - started >= 0.7
    assert (await world.text("bob"))["text"] == "slowly"

    await world.control.SetFaults(pb.SetFaultsRequest(phone=alice, refuse_messages=463))
    with pytest.raises(ClientError, match="463"):
        await world.clients.call("send", session="alice", to=_jid(bob), text="refused")

    await world.control.SetFaults(pb.SetFaultsRequest(phone=alice, withhold_acks=True))
    hanging = asyncio.ensure_future(world.clients.call("send", session="alice", to=_jid(bob), text="unacknowledged"))
    assert (await world.text("bob"))["text"] == "unacknowledged"
    await asyncio.sleep(0.5)
    assert not hanging.done()

    await world.control.SetFaults(pb.SetFaultsRequest(phone=bob, swallow_messages=True))
    swallowed = asyncio.ensure_future(world.clients.call("send", session="bob", to=_jid(alice), text="swallowed"))
    await asyncio.sleep(0.5)
    assert not swallowed.done()
    assert not any(map(_has_text, world.clients.pending("alice", "message")))
    await world.clients.kill()
    for pending in (hanging, swallowed):
        with pytest.raises(ClientError, match="ended"):
            await pending


async def test_a_refused_login_is_reported(world: World) -> None:
    """A login failure reaches the client with its reason."""
    alice = await world.link("alice")

    await world.control.SetFaults(pb.SetFaultsRequest(phone=alice, refuse_logins=403))
    await world.control.DropConnections(pb.DropConnectionsRequest(phone=alice))

    await world.clients.wait_for("alice", "logged_out")


async def test_many_clients_lose_nothing(tmp_path: Path) -> None:
    """A ring of clients at full speed, the simulator in a process of its own: every message arrives decrypted."""
    async with simulator_process(tmp_path / "simulator.json") as file:
        result = await measure(file, tmp_path, sessions=5, messages=20, text="hello")

    assert result["sends"] == 100
    assert result["received"] >= result["received_expected"], "what a phone tells its devices may come on top"
    assert result["undecryptable"] == 0
