"""Sends: from a contract content to WhatsApp's acknowledgement, or to what is known of the failure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from gateway_worker.engine.binding import MEDIA_IMAGE, GoLibrary
from gateway_worker.engine.client import Client, Phase
from gateway_worker.engine.convert import jids, outbound
from gateway_worker.engine.failures import CommandFailedError, send_failure, upload_failure
from gateway_worker.engine.host import Host
from gateway_worker.engine.media import probe_image, read_file
from gateway_worker.waproto import e2e, neonize
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2

_TRANSFERS: Final = 3
"""Media that are prepared and uploaded at a time: each is in memory three times, and Go copies whole buffers."""


class Sender:
    """Sends messages.

    Args:
        library: The Go library.
        host: The clients.
    """

    def __init__(self, library: GoLibrary, host: Host) -> None:
        self._library = library
        self._host = host
        self._transfers = asyncio.Semaphore(_TRANSFERS)

    async def send(self, command: engine_pb2.SendMessage) -> engine_pb2.Sent:
        """Send a message; returns once WhatsApp's server acknowledged it.

        Raises:
            CommandFailedError: It was not acknowledged; the kind says what is known of its fate.
        """
        client = self._host.live(command.handle)
        require_loop(client)
        chat = parse_jid(command.chat)
        message = await self._build(client, command)
        data = outbound.with_secret(message, command.message_secret).SerializeToString()
        answer = neonize.SendMessageReturnFunction.FromString(
            await self._host.call(self._library.send_message, client, chat, data)
        )
        if answer.Error or not answer.HasField("SendResponse"):
            raise send_failure(answer.Error)
        response = answer.SendResponse
        return engine_pb2.Sent(message_id=response.ID, time=Timestamp(seconds=response.Timestamp))

    async def _build(self, client: Client, command: engine_pb2.SendMessage) -> e2e.Message:
        quoted = command.quoted if command.HasField("quoted") else None
        context = outbound.context_info(command.chat, quoted, command.mentions)
        match command.content.WhichOneof("kind"):
            case "text":
                return outbound.text_message(command.content.text, context)
            case "image":
                return await self._build_image(client, command.content.image, Path(command.media_path), context)
            case kind:
                raise CommandFailedError(engine_pb2.FAILURE_KIND_INTERNAL, f"content of kind {kind} cannot be sent")

    async def _build_image(
        self, client: Client, content: content_pb2.ImageContent, path: Path, context: e2e.ContextInfo | None
    ) -> e2e.Message:
        async with self._transfers:
            data = await self._host.run(read_file, path)
            preview = await self._host.run(probe_image, data)
            # Bytes, never a path or a URL: neonize's own helpers open whatever a text names.
            answer = neonize.UploadReturnFunction.FromString(
                await self._host.call(self._library.upload, client, data, MEDIA_IMAGE)
            )
        if answer.Error or not answer.HasField("UploadResponse"):
            raise upload_failure(answer.Error)
        return outbound.image_message(content, preview, answer.UploadResponse, context)


def require_loop(client: Client) -> None:
    """Check that a client is linked and past its first connection.

    Raises:
        CommandFailedError: NOT_LINKED or NOT_CONNECTED.
    """
    if client.phase in (Phase.LINKING, Phase.UNLINKED):
        raise CommandFailedError(engine_pb2.FAILURE_KIND_NOT_LINKED)
    if client.phase is not Phase.RUNNING:
        raise CommandFailedError(engine_pb2.FAILURE_KIND_NOT_CONNECTED)


def parse_jid(text: str) -> bytes:
    """Serialize the JID of a chat for the library.

    Raises:
        CommandFailedError: NO_RECIPIENT: the text is no JID.
    """
    try:
        return jids.parse(text).SerializeToString()
    except jids.InvalidJidError as error:
        raise CommandFailedError(engine_pb2.FAILURE_KIND_NO_RECIPIENT, "not a JID") from error
