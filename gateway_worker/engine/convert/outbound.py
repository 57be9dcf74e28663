"""Contract contents as WhatsApp messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway_worker.waproto import e2e, neonize
from wagateway.worker.v1 import content_pb2


@dataclass(frozen=True, slots=True)
class Preview:
    """What is known of an image that is sent.

    Attributes:
        mime_type: image/jpeg, image/png or image/webp.
        width: In pixels, as it is shown.
        height: In pixels, as it is shown.
        thumbnail: Small JPEG.
    """

    mime_type: str
    width: int
    height: int
    thumbnail: bytes


def context_info(
    chat: str, quoted: content_pb2.QuotedMessage | None, mentions: Sequence[str]
) -> e2e.ContextInfo | None:
    """Build the context of a message; None when there is none.

    Args:
        chat: JID of the chat, the sender of a quoted message that names none.
        quoted: The message that is answered. Its sender is a JID.
        mentions: JIDs of the users that are mentioned.
    """
    if quoted is None and not mentions:
        return None
    context = e2e.ContextInfo(mentionedJID=mentions)
    if quoted is not None:
        context.stanzaID = quoted.message_id
        context.participant = quoted.sender or chat
        context.quotedMessage.conversation = quoted.text
    return context


def text_message(content: content_pb2.TextContent, context: e2e.ContextInfo | None) -> e2e.Message:
    """Build a text message: the plain kind, or with a context the extended one, as WhatsApp's own clients do."""
    if context is None:
        return e2e.Message(conversation=content.text)
    return e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text=content.text, contextInfo=context))


def image_message(
    content: content_pb2.ImageContent,
    preview: Preview,
    upload: neonize.UploadResponse,
    context: e2e.ContextInfo | None,
) -> e2e.Message:
    """Build an image message on media that is uploaded."""
    image = e2e.ImageMessage(
        URL=upload.url,
        directPath=upload.DirectPath,
        mediaKey=upload.MediaKey,
        mediaKeyTimestamp=int(time.time()),
        fileEncSHA256=upload.FileEncSHA256,
        fileSHA256=upload.FileSHA256,
        fileLength=upload.FileLength,
        mimetype=preview.mime_type,
        width=preview.width,
        height=preview.height,
        JPEGThumbnail=preview.thumbnail,
    )
    if content.caption:
        image.caption = content.caption
    if context is not None:
        image.contextInfo.CopyFrom(context)
    message = e2e.Message(imageMessage=image)
    if not content.view_once:
        return message
    image.viewOnce = True
    return e2e.Message(viewOnceMessage=e2e.FutureProofMessage(message=e2e.Message(imageMessage=image)))


def with_secret(message: e2e.Message, secret: bytes) -> e2e.Message:
    """Give a message its secret, by which its fate can be looked up after a crash (docs/neonize-traps.md)."""
    if secret:
        message.messageContextInfo.messageSecret = secret
    return message
