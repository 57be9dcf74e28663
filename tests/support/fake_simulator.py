"""A simulator's control API that answers what a test tells it to, with nothing behind it."""

# ruff: noqa: N802 - the names are the contract's

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from wagateway.simulator.v1 import simulator_pb2, simulator_pb2_grpc


class FakeSimulator(simulator_pb2_grpc.SimulatorServiceServicer):
    """The control API.

    Attributes:
        calls: Names and requests of the calls so far.
        inbox: What every contact was sent.
        refusal: Code and message with which every call is refused; None: none is.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.inbox: list[simulator_pb2.ReceivedMessage] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None

    def AddPhone(self, request: Any, context: Any) -> Any:
        """Return the phone."""
        self._called("AddPhone", request, context)
        phone = simulator_pb2.Phone(number=request.number or "6281200000009", push_name=request.push_name or "Person")
        return simulator_pb2.AddPhoneResponse(phone=phone)

    def ListPhones(self, request: Any, context: Any) -> Any:
        """Return one phone with two devices, and one without."""
        self._called("ListPhones", request, context)
        linked = simulator_pb2.Phone(number="6281200000001", push_name="Budi")
        linked.devices.add(device=1, connected=True)
        linked.devices.add(device=2, queued=3)
        return simulator_pb2.ListPhonesResponse(phones=[linked, simulator_pb2.Phone(number="6281200000002")])

    def ScanCode(self, request: Any, context: Any) -> Any:
        """Return the device."""
        self._called("ScanCode", request, context)
        return simulator_pb2.ScanCodeResponse(jid=f"{request.number}:1@s.whatsapp.net")

    def UnlinkDevice(self, request: Any, context: Any) -> Any:
        """Do nothing."""
        self._called("UnlinkDevice", request, context)
        return simulator_pb2.UnlinkDeviceResponse()

    def AddContact(self, request: Any, context: Any) -> Any:
        """Return the contact."""
        self._called("AddContact", request, context)
        contact = simulator_pb2.Contact(number=request.number or "6281300000009", push_name=request.push_name)
        return simulator_pb2.AddContactResponse(contact=contact)

    def ListContacts(self, request: Any, context: Any) -> Any:
        """Return one contact."""
        self._called("ListContacts", request, context)
        contact = simulator_pb2.Contact(
            number="6281300000001", push_name="Siti", behaviour=simulator_pb2.BEHAVIOUR_ECHO
        )
        return simulator_pb2.ListContactsResponse(contacts=[contact])

    def Say(self, request: Any, context: Any) -> Any:
        """Return an id."""
        self._called("Say", request, context)
        return simulator_pb2.SayResponse(id="3A01")

    def SendTyping(self, request: Any, context: Any) -> Any:
        """Do nothing."""
        self._called("SendTyping", request, context)
        return simulator_pb2.SendTypingResponse()

    def SendReceipt(self, request: Any, context: Any) -> Any:
        """Do nothing."""
        self._called("SendReceipt", request, context)
        return simulator_pb2.SendReceiptResponse()

    def ListInbox(self, request: Any, context: Any) -> Any:
        """Return the inbox."""
        self._called("ListInbox", request, context)
        return simulator_pb2.ListInboxResponse(messages=self.inbox)

    def WatchInbox(self, request: Any, context: Any) -> Iterator[Any]:
        """Show the inbox message by message, then end."""
        self._called("WatchInbox", request, context)
        for message in self.inbox:
            yield simulator_pb2.WatchInboxResponse(message=message)

    def SetFaults(self, request: Any, context: Any) -> Any:
        """Do nothing."""
        self._called("SetFaults", request, context)
        return simulator_pb2.SetFaultsResponse()

    def DropConnections(self, request: Any, context: Any) -> Any:
        """Drop two."""
        self._called("DropConnections", request, context)
        return simulator_pb2.DropConnectionsResponse(dropped=2)

    def SendStreamError(self, request: Any, context: Any) -> Any:
        """Do nothing."""
        self._called("SendStreamError", request, context)
        return simulator_pb2.SendStreamErrorResponse()

    def GetStats(self, request: Any, context: Any) -> Any:
        """Return some counters."""
        self._called("GetStats", request, context)
        return simulator_pb2.GetStatsResponse(messages_in=12345, cpu_seconds=1.5)

    def _called(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        self.calls.append((method, request))
        if self.refusal is not None:
            context.abort(*self.refusal)


@contextmanager
def fake_simulator(file: Path) -> Generator[FakeSimulator, None, None]:
    """Serve a fake simulator on a free port, and write the file by which it is found."""
    simulator = FakeSimulator()
    with ThreadPoolExecutor(max_workers=8) as threads:
        server = grpc.server(threads)
        simulator_pb2_grpc.add_SimulatorServiceServicer_to_server(simulator, server)
        file.write_text(json.dumps({"control": f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"}))
        server.start()
        try:
            yield simulator
        finally:
            server.stop(None).wait()
