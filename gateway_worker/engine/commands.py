"""One command in, one answer out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from gateway_worker.engine import binding
from gateway_worker.engine.binding import GoLibrary
from gateway_worker.engine.client import Phase
from gateway_worker.engine.failures import CommandFailedError, unsent_failure
from gateway_worker.engine.host import Host
from gateway_worker.engine.pump import Pump
from gateway_worker.engine.sending import Sender, parse_jid, require_loop
from gateway_worker.engine.spool.writer import SpoolWriter
from gateway_worker.waproto import neonize
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import event_pb2

logger = logging.getLogger(__name__)

_PRESENCE: Final = {
    event_pb2.CHAT_ACTIVITY_PAUSED: (binding.PAUSED, binding.TEXT_MEDIA),
    event_pb2.CHAT_ACTIVITY_TYPING: (binding.COMPOSING, binding.TEXT_MEDIA),
    event_pb2.CHAT_ACTIVITY_RECORDING: (binding.COMPOSING, binding.AUDIO_MEDIA),
}

_PAIRING_CLIENT_NAME: Final = "Chrome (Linux)"
"""WhatsApp takes only names of this form: browser, and system in parentheses."""


class Commands:
    """Carries commands out.

    Args:
        library: The Go library.
        host: The clients.
        writer: The spool.
        pump: Delivers the spools of dead engines.
    """

    def __init__(self, library: GoLibrary, host: Host, writer: SpoolWriter, pump: Pump) -> None:
        self._library = library
        self._host = host
        self._writer = writer
        self._pump = pump
        self._sender = Sender(library, host)

    async def answer(self, request: engine_pb2.ControlRequest) -> engine_pb2.ControlResponse:
        """Carry a command out and answer it; every failure is an answer."""
        response = engine_pb2.ControlResponse(call_id=request.call_id)
        try:
            await self._carry_out(request, response)
        except CommandFailedError as error:
            response.failure.CopyFrom(error.failure)
        except Exception as error:
            logger.exception("a command failed: %s", request.WhichOneof("command"))
            # Nothing is known of where it failed, and a send may have gone out.
            sending = request.WhichOneof("command") == "send"
            kind = engine_pb2.FAILURE_KIND_FATE_UNKNOWN if sending else engine_pb2.FAILURE_KIND_INTERNAL
            response.failure.CopyFrom(engine_pb2.Failure(kind=kind, detail=type(error).__name__))
        return response

    async def _carry_out(self, request: engine_pb2.ControlRequest, response: engine_pb2.ControlResponse) -> None:
        match request.WhichOneof("command"):
            case "send":
                response.sent.CopyFrom(await self._sender.send(request.send))
                return
            case "pair_phone":
                response.pairing_code.code = await self._pair_phone(request.pair_phone)
                return
            case "import_spool":
                response.done.spooled = await self._pump.import_spool(
                    request.import_spool.spool_id, Path(request.import_spool.path), request.import_spool.after
                )
                return
            case "start":
                start = request.start
                await self._host.start(start.handle, Path(start.database_path), start.device_name)
            case "stop":
                await self._host.stop(request.stop.handle)
            case "chat_presence":
                await self._chat_presence(request.chat_presence)
            case "presence":
                await self._presence(request.presence)
            case "logout":
                await self._logout(request.logout)
            case "shutdown":
                await self._host.close()
            case command:
                raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, f"unknown command {command}")
        response.done.spooled = self._writer.last_position

    async def _chat_presence(self, command: engine_pb2.SendChatPresence) -> None:
        client = self._host.live(command.handle)
        require_loop(client)
        if command.activity not in _PRESENCE:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, "unknown activity")
        state, media = _PRESENCE[command.activity]
        chat = parse_jid(command.chat)
        _check(await self._host.call(self._library.send_chat_presence, client, chat, state, media))

    async def _presence(self, command: engine_pb2.SendPresence) -> None:
        client = self._host.live(command.handle)
        require_loop(client)
        _check(await self._host.call(self._library.send_presence, client, available=command.available))

    async def _logout(self, command: engine_pb2.LogoutSession) -> None:
        client = self._host.live(command.handle)
        require_loop(client)
        _check(await self._host.call(self._library.logout, client))
        await self._host.stop(command.handle)

    async def _pair_phone(self, command: engine_pb2.PairPhone) -> str:
        client = self._host.live(command.handle)
        # Trap 9: the client must offer QR codes, for it asks for the code over that connection.
        if client.phase is not Phase.LINKING:
            raise CommandFailedError(engine_pb2.FAILURE_KIND_NOT_CONNECTED, "no QR code is offered yet")
        parameters = neonize.PairPhoneParams(
            phone=command.phone_number,
            showPushNotification=True,
            clientType=binding.PAIR_CLIENT_CHROME,
            clientDisplayName=_PAIRING_CLIENT_NAME,
        )
        answer = neonize.PairPhoneReturnFunction.FromString(
            await self._host.call(self._library.pair_phone, client, parameters.SerializeToString())
        )
        _check(answer.Error)
        return answer.Code


def _check(error: str) -> None:
    if error:
        raise unsent_failure(error)
