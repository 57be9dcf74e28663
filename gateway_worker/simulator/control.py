"""The control API: a gRPC server on loopback over phones, contacts and faults."""

# ruff: noqa: N802  # gRPC gives the methods their names
from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_reflection.v1alpha import reflection

from gateway_worker.simulator.endpoints import Utterance
from gateway_worker.simulator.errors import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    SimulatorError,
)
from gateway_worker.simulator.faults import Faults
from gateway_worker.simulator.phones import Phones, StreamError, is_connected
from wagateway.simulator.v1 import simulator_pb2 as pb
from wagateway.simulator.v1 import simulator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.duration_pb2 import Duration

    from gateway_worker.simulator.endpoints import PlayersApi
    from gateway_worker.simulator.registry import AccountRecord
    from gateway_worker.simulator.server import Server

_MAX_MESSAGE: Final = 64 << 20  # bytes; a video that a contact says is part of the request
_GRACE: Final = 1.0  # seconds
_STATUS: Final[dict[type[SimulatorError], grpc.StatusCode]] = {
    InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
}
_STREAM_ERRORS: Final[dict[int, StreamError]] = {
    pb.STREAM_ERROR_KIND_REPLACED: StreamError.REPLACED,
    pb.STREAM_ERROR_KIND_UNAVAILABLE: StreamError.UNAVAILABLE,
    pb.STREAM_ERROR_KIND_LOGGED_OUT: StreamError.LOGGED_OUT,
}

Context = grpc.aio.ServicerContext[Any, Any]


@contextlib.asynccontextmanager
async def _errors_to_status(context: Context) -> AsyncIterator[None]:
    """Answer with the status that belongs to the simulator's error."""
    try:
        yield
    except SimulatorError as error:
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), grpc.StatusCode.UNKNOWN)
        await context.abort(status, str(error))


def _seconds(duration: Duration, name: str) -> float:
    """Read a duration that is not negative.

    Raises:
        InvalidError: It is negative, or not a valid duration.
    """
    nanos_in_second = 1_000_000_000
    if duration.seconds < 0 or not 0 <= duration.nanos < nanos_in_second:
        raise InvalidError(f"{name} is a duration of 0 seconds or more")
    return duration.seconds + duration.nanos / nanos_in_second


def _phone(record: AccountRecord) -> pb.Phone:
    devices = [
        pb.Device(
            device=device.address.device,
            connected=is_connected(device),
            queued=0 if is_connected(device) else len(device.mailbox),
        )
        for device in record.companions
    ]
    account = record.account
    return pb.Phone(number=account.number, lid=account.lid, push_name=record.push_name, devices=devices)


class _Servicer(simulator_pb2_grpc.SimulatorServiceServicer):
    """Decodes, makes one call, encodes."""

    def __init__(self, server: Server, phones: Phones, players: PlayersApi) -> None:
        self._server = server
        self._phones = phones
        self._players = players

    async def AddPhone(self, request: pb.AddPhoneRequest, context: Context) -> pb.AddPhoneResponse:
        async with _errors_to_status(context):
            return pb.AddPhoneResponse(phone=_phone(await self._phones.add(request.number, request.push_name)))

    async def ListPhones(self, request: pb.ListPhonesRequest, context: Context) -> pb.ListPhonesResponse:
        del request, context
        return pb.ListPhonesResponse(phones=[_phone(record) for record in self._phones.all()])

    async def ScanCode(self, request: pb.ScanCodeRequest, context: Context) -> pb.ScanCodeResponse:
        async with _errors_to_status(context):
            return pb.ScanCodeResponse(jid=(await self._phones.scan(request.number, request.code)).pn_jid)

    async def UnlinkDevice(self, request: pb.UnlinkDeviceRequest, context: Context) -> pb.UnlinkDeviceResponse:
        async with _errors_to_status(context):
            await self._phones.unlink(request.number, request.device)
            return pb.UnlinkDeviceResponse()

    async def AddContact(self, request: pb.AddContactRequest, context: Context) -> pb.AddContactResponse:
        async with _errors_to_status(context):
            if request.behaviour not in pb.Behaviour.values():
                raise InvalidError(f"behaviour is one of {', '.join(pb.Behaviour.keys())}, not {request.behaviour}")
            contact = await self._players.add_contact(
                request.number,
                request.push_name,
                request.behaviour,
                list(request.script),
                _seconds(request.answer_delay, "answer_delay"),
            )
            return pb.AddContactResponse(contact=contact)

    async def ListContacts(self, request: pb.ListContactsRequest, context: Context) -> pb.ListContactsResponse:
        del request, context
        return pb.ListContactsResponse(contacts=self._players.contacts())

    async def Say(self, request: pb.SayRequest, context: Context) -> pb.SayResponse:
        async with _errors_to_status(context):
            chosen = request.WhichOneof("what")
            if chosen is None:
                raise InvalidError("what is said is exactly one of text, image and content")
            if request.caption and chosen != "image":
                raise InvalidError("a caption belongs to an image")
            what = Utterance(
                text=request.text if chosen == "text" else None,
                image=request.image if chosen == "image" else None,
                content=request.content if chosen == "content" else None,
                caption=request.caption,
                message_id=request.id,
            )
            return pb.SayResponse(id=await self._players.say(request.contact, request.phone, what))

    async def SendTyping(self, request: pb.SendTypingRequest, context: Context) -> pb.SendTypingResponse:
        async with _errors_to_status(context):
            await self._players.typing(request.contact, request.phone, composing=request.composing)
            return pb.SendTypingResponse()

    async def SendReceipt(self, request: pb.SendReceiptRequest, context: Context) -> pb.SendReceiptResponse:
        async with _errors_to_status(context):
            if request.kind not in pb.ReceiptKind.values() or request.kind == pb.RECEIPT_KIND_UNSPECIFIED:
                raise InvalidError(f"kind is one of {', '.join(pb.ReceiptKind.keys()[1:])}")
            await self._players.receipt(request.contact, request.id, request.kind)
            return pb.SendReceiptResponse()

    async def ListInbox(self, request: pb.ListInboxRequest, context: Context) -> pb.ListInboxResponse:
        async with _errors_to_status(context):
            return pb.ListInboxResponse(messages=self._players.inbox(request.contact))

    async def WatchInbox(self, request: pb.WatchInboxRequest, context: Context) -> AsyncIterator[pb.WatchInboxResponse]:
        async with _errors_to_status(context):
            messages = self._players.watch(request.contact)
            # Tells the client that it will miss nothing from here on.
            await context.send_initial_metadata(())
            async for message in messages:
                yield pb.WatchInboxResponse(message=message)

    async def SetFaults(self, request: pb.SetFaultsRequest, context: Context) -> pb.SetFaultsResponse:
        async with _errors_to_status(context):
            faults = Faults(
                ack_delay=_seconds(request.ack_delay, "ack_delay"),
                withhold_acks=request.withhold_acks,
                swallow_messages=request.swallow_messages,
                refuse_messages=request.refuse_messages,
                refuse_logins=request.refuse_logins,
                refuse_connections=request.refuse_connections,
            )
            self._phones.set_faults(request.phone, faults)
            return pb.SetFaultsResponse()

    async def DropConnections(self, request: pb.DropConnectionsRequest, context: Context) -> pb.DropConnectionsResponse:
        async with _errors_to_status(context):
            return pb.DropConnectionsResponse(dropped=self._phones.drop_connections(request.phone))

    async def SendStreamError(self, request: pb.SendStreamErrorRequest, context: Context) -> pb.SendStreamErrorResponse:
        async with _errors_to_status(context):
            error = _STREAM_ERRORS.get(request.kind)
            if error is None:
                raise InvalidError(f"kind is one of {', '.join(pb.StreamErrorKind.keys()[1:])}")
            await self._phones.stream_error(request.phone, error)
            return pb.SendStreamErrorResponse()

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        del request, context
        stats = self._server.stats
        return pb.GetStatsResponse(
            connected_devices=self._phones.connected_devices(),
            logins=stats.logins,
            messages_in=stats.messages_in,
            messages_out=stats.messages_out,
            receipts=stats.receipts,
            bad_clients=stats.bad_clients,
            cpu_seconds=self._phones.cpu_seconds(),
        )


class ControlServer:
    """The control API's gRPC server, with reflection.

    Args:
        server: The simulated server.
        players: The devices that the simulator plays.
    """

    def __init__(self, server: Server, players: PlayersApi) -> None:
        options = (
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
            ("grpc.so_reuseport", 0),
        )
        self._grpc = grpc.aio.server(options=options)
        servicer = _Servicer(server, Phones(server, players), players)
        simulator_pb2_grpc.add_SimulatorServiceServicer_to_server(servicer, self._grpc)
        names = (pb.DESCRIPTOR.services_by_name["SimulatorService"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._grpc)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chooses when ``port`` is 0.

        Raises:
            OSError: The port cannot be had.
        """
        try:
            bound = self._grpc.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(f"the control API cannot listen on {host}:{port}") from error
        await self._grpc.start()
        return bound

    async def aclose(self) -> None:
        """Stop listening; open streams end."""
        await self._grpc.stop(_GRACE)
