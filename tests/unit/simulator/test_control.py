"""The control API over a real channel: what it does, and what it refuses how."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.wa_client import ClientKeys, WaClient, open_client
from wagateway.simulator.v1 import simulator_pb2 as pb
from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from wagateway.simulator.v1.simulator_pb2_grpc import SimulatorServiceAsyncStub

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


@dataclass
class Controlled:
    """A simulator, a channel to its control API, and the API."""

    simulator: Simulator
    channel: grpc.aio.Channel
    api: SimulatorServiceAsyncStub

    async def phone(self) -> pb.Phone:
        """Add a phone."""
        return (await self.api.AddPhone(pb.AddPhoneRequest())).phone

    async def contact(self, behaviour: pb.Behaviour.ValueType = pb.BEHAVIOUR_SILENT) -> pb.Contact:
        """Add a contact."""
        return (await self.api.AddContact(pb.AddContactRequest(behaviour=behaviour))).contact

    async def link(self, phone: str) -> ClientKeys:
        """Link a client to a phone through the API."""
        keys = ClientKeys()
        async with open_client(self.simulator.file, keys) as candidate:
            request = pb.ScanCodeRequest(number=phone, code=await candidate.code())
            scan = asyncio.ensure_future(self.api.ScanCode(request))
            await candidate.confirm()
            await candidate.receive_tag("stream:error")
        async with open_client(self.simulator.file, keys) as client:
            await client.receive_tag("success")
            await client.wake()
            assert (await scan).jid == f"{phone}:{keys.device}@s.whatsapp.net"
        return keys

    async def phones(self) -> dict[str, pb.Phone]:
        """List the phones by number."""
        return {phone.number: phone for phone in (await self.api.ListPhones(pb.ListPhonesRequest())).phones}


@pytest.fixture
async def controlled(tmp_path: Path) -> AsyncIterator[Controlled]:
    """A running simulator under control."""
    settings = SimulatorSettings(file=tmp_path / "simulator.json", link_timeout=1.0)
    async with Simulator(settings) as simulator, grpc.aio.insecure_channel(simulator.control_target) as channel:
        yield Controlled(simulator, channel, SimulatorServiceStub(channel))


async def _refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that is refused; returns status and text."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def _in(client: WaClient) -> None:
    await client.receive_tag("success")
    await client.wake()


async def test_phones_and_contacts_are_listed(controlled: Controlled) -> None:
    """Names and numbers are what was asked for, or made up; each list knows its own."""
    api = controlled.api
    phone = (await api.AddPhone(pb.AddPhoneRequest(number="6281111111111", push_name="Shop"))).phone
    request = pb.AddContactRequest(push_name="Ann", behaviour=pb.BEHAVIOUR_SCRIPT, script=["one", "two"])
    contact = (await api.AddContact(request)).contact

    assert (phone.number, phone.push_name, list(phone.devices)) == ("6281111111111", "Shop", [])
    assert phone.lid
    assert list(await controlled.phones()) == [phone.number]
    assert list((await api.ListContacts(pb.ListContactsRequest())).contacts) == [contact]
    assert (contact.push_name, list(contact.script)) == ("Ann", ["one", "two"])


async def test_a_phone_scans_and_unlinks(controlled: Controlled) -> None:
    """The device appears, shows whether it is connected and what waits for it, and goes."""
    phone = await controlled.phone()
    keys = await controlled.link(phone.number)
    contact = await controlled.contact()
    async with open_client(controlled.simulator.file, keys) as client:
        await _in(client)
        assert list((await controlled.phones())[phone.number].devices) == [pb.Device(device=1, connected=True)]
    before = (await controlled.phones())[phone.number].devices[0]
    await controlled.api.Say(pb.SayRequest(contact=contact.number, phone=phone.number, text="hello"))
    after = (await controlled.phones())[phone.number].devices[0]
    assert (before.connected, after.connected, after.queued) == (False, False, before.queued + 1)

    await controlled.api.UnlinkDevice(pb.UnlinkDeviceRequest(number=phone.number))
    assert not (await controlled.phones())[phone.number].devices
    async with open_client(controlled.simulator.file, keys) as client:
        assert (await client.receive_tag("failure")).attrs["reason"] == "401"


@pytest.mark.parametrize(
    ("kind", "attrs", "conflict", "stays"),
    [
        (pb.STREAM_ERROR_KIND_REPLACED, {}, "replaced", True),
        (pb.STREAM_ERROR_KIND_UNAVAILABLE, {"code": "503"}, "", True),
        (pb.STREAM_ERROR_KIND_LOGGED_OUT, {"code": "401"}, "device_removed", False),
    ],
)
async def test_stream_errors_are_sent(
    controlled: Controlled, kind: pb.StreamErrorKind.ValueType, attrs: dict[str, str], conflict: str, *, stays: bool
) -> None:
    """Each kind is the stanza that clients know, followed by the end; only a logout removes the device."""
    phone = await controlled.phone()
    keys = await controlled.link(phone.number)
    async with open_client(controlled.simulator.file, keys) as client:
        await _in(client)
        await controlled.api.SendStreamError(pb.SendStreamErrorRequest(phone=phone.number, kind=kind))
        error = await client.receive_tag("stream:error")
        await client.closed()

    assert error.attrs == attrs
    assert (child.attrs["type"] if (child := error.child("conflict")) else "") == conflict
    assert len((await controlled.phones())[phone.number].devices) == stays


async def test_connections_are_dropped_and_counted(controlled: Controlled) -> None:
    """A phone's connections are cut without a word, or everybody's."""
    phone, other = await controlled.phone(), await controlled.phone()
    for number, dropped in ((phone.number, 1), ("", 2), (phone.number, 0)):
        async with open_client(controlled.simulator.file, await controlled.link(other.number)) as bystander:
            await _in(bystander)
            if dropped:
                async with open_client(controlled.simulator.file, await controlled.link(phone.number)) as client:
                    await _in(client)
                    answer = await controlled.api.DropConnections(pb.DropConnectionsRequest(phone=number))
                    await client.closed()
            else:
                answer = await controlled.api.DropConnections(pb.DropConnectionsRequest(phone=number))
        assert answer.dropped == dropped


async def test_an_inbox_can_be_watched(controlled: Controlled) -> None:
    """Once the stream's metadata have come, nothing is missed; an unknown contact ends the stream."""
    watch = controlled.api.WatchInbox(pb.WatchInboxRequest())
    await watch.initial_metadata()
    watch.cancel()

    unknown = controlled.api.WatchInbox(pb.WatchInboxRequest(contact="6289999999999"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in unknown:
            pass
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_statistics_count(controlled: Controlled) -> None:
    """Logins, connections and CPU time are there to be read."""
    phone = await controlled.phone()
    keys = await controlled.link(phone.number)
    async with open_client(controlled.simulator.file, keys) as client:
        await _in(client)
        stats = await controlled.api.GetStats(pb.GetStatsRequest())
    assert (stats.connected_devices, stats.logins, stats.bad_clients) == (1, 2, 0)
    assert stats.cpu_seconds > 0


async def test_wrong_requests_are_refused(controlled: Controlled) -> None:
    """Every refusal has the status for its reason, and its text says what is accepted."""
    api = controlled.api
    phone, contact = (await controlled.phone()).number, (await controlled.contact()).number
    nobody = "6289999999999"
    invalid, missing, taken, state = (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    cases: list[tuple[Any, grpc.StatusCode, str]] = [
        (api.AddPhone(pb.AddPhoneRequest(number="12")), invalid, "7 to 15 digits"),
        (api.AddPhone(pb.AddPhoneRequest(push_name="x" * 101)), invalid, "100 characters"),
        (api.AddPhone(pb.AddPhoneRequest(number=contact)), taken, contact),
        (api.AddContact(pb.AddContactRequest(number=phone)), taken, phone),
        (api.AddContact(pb.AddContactRequest(number="+1")), invalid, "7 to 15 digits"),
        (api.AddContact(pb.AddContactRequest(behaviour=pb.BEHAVIOUR_SCRIPT)), invalid, "script"),
        (api.AddContact(pb.AddContactRequest(answer_delay=Duration(seconds=-1))), invalid, "answer_delay"),
        (api.ScanCode(pb.ScanCodeRequest(number=nobody, code="x")), missing, "no phone"),
        (api.ScanCode(pb.ScanCodeRequest(number=contact, code="x")), missing, "no phone"),
        (api.ScanCode(pb.ScanCodeRequest(number=phone, code="x")), invalid, "a code is"),
        (api.ScanCode(pb.ScanCodeRequest(number=phone, code=ClientKeys().code(b"r"))), missing, "no client offers"),
        (api.UnlinkDevice(pb.UnlinkDeviceRequest(number=nobody)), missing, "no phone"),
        (api.UnlinkDevice(pb.UnlinkDeviceRequest(number=phone, device=3)), missing, "no linked device 3"),
        (api.Say(pb.SayRequest(contact=contact, phone=phone)), invalid, "exactly one of"),
        (api.Say(pb.SayRequest(contact=contact, phone=phone, text="x", caption="y")), invalid, "caption"),
        (api.Say(pb.SayRequest(contact=nobody, phone=phone, text="x")), missing, nobody),
        (api.Say(pb.SayRequest(contact=contact, phone=nobody, text="x")), missing, nobody),
        (api.Say(pb.SayRequest(contact=contact, phone=phone, content=b"\xff")), invalid, ""),
        (api.SendTyping(pb.SendTypingRequest(contact=nobody, phone=phone)), missing, nobody),
        (api.SendReceipt(pb.SendReceiptRequest(contact=contact, id="x")), invalid, "RECEIPT_KIND_READ"),
        (api.SendReceipt(pb.SendReceiptRequest(contact=contact, id="x", kind=pb.RECEIPT_KIND_READ)), missing, "x"),
        (api.ListInbox(pb.ListInboxRequest(contact=nobody)), missing, nobody),
        (api.SetFaults(pb.SetFaultsRequest(phone=nobody)), missing, "no phone"),
        (api.SetFaults(pb.SetFaultsRequest(refuse_logins=7)), invalid, "400 to 999"),
        (api.SetFaults(pb.SetFaultsRequest(ack_delay=Duration(seconds=-1))), invalid, "ack_delay"),
        (api.SetFaults(pb.SetFaultsRequest(phone=phone, refuse_connections=True)), invalid, "for all phones"),
        (api.DropConnections(pb.DropConnectionsRequest(phone=nobody)), missing, "no phone"),
        (api.SendStreamError(pb.SendStreamErrorRequest(phone=phone)), invalid, "STREAM_ERROR_KIND_REPLACED"),
        (
            api.SendStreamError(pb.SendStreamErrorRequest(phone=phone, kind=pb.STREAM_ERROR_KIND_REPLACED)),
            state,
            "no connected device",
        ),
    ]
    for call, status, text in cases:
        code, details = await _refused(call)
        assert (code, text in details) == (status, True), details


async def test_the_api_describes_itself(controlled: Controlled) -> None:
    """Reflection lists the service, so that tools need no files."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(controlled.channel)  # type: ignore[arg-type]  # async works too
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = stub.ServerReflectionInfo(iter([request]))

    names = [service.name async for answer in answers for service in answer.list_services_response.service]
    assert "wagateway.simulator.v1.SimulatorService" in names
