"""What messages say: reading and building ``WAWebProtobufsE2E.Message``."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.media_crypto import MediaKind, encrypt_media
from gateway_worker.waproto import e2e

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtobufMessage

    from gateway_worker.simulator.endpoints import StoredMedia

_THUMBNAIL_EDGE = 100
_MIME_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}

_NOT_CONTENT = frozenset({"messageContextInfo", "senderKeyDistributionMessage"})
"""Fields that accompany content."""

_NOT_CONVERSATION = frozenset(
    {
        "",
        "encReactionMessage",
        "keepInChatMessage",
        "pinInChatMessage",
        "pollUpdateMessage",
        "protocolMessage",
        "reactionMessage",
    }
)
"""Content that changes another message or the protocol's state; nobody answers it."""

_MEDIA_KINDS = {
    "imageMessage": MediaKind.IMAGE,
    "stickerMessage": MediaKind.IMAGE,
    "videoMessage": MediaKind.VIDEO,
    "ptvMessage": MediaKind.VIDEO,
    "audioMessage": MediaKind.AUDIO,
    "documentMessage": MediaKind.DOCUMENT,
}

_MEDIA_TYPES = {
    "imageMessage": "image",
    "stickerMessage": "sticker",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "contactMessage": "vcard",
    "contactsArrayMessage": "contact_array",
}


@dataclass(frozen=True, slots=True)
class MediaReference:
    """Where a message's media are, and the means to decrypt them.

    Attributes:
        kind: Kind of media.
        direct_path: Path in the media store.
        key: Media key, 32 bytes.
        sha256: SHA-256 of the plaintext.
        encrypted_sha256: SHA-256 of the file as stored.
    """

    kind: MediaKind
    direct_path: str
    key: bytes
    sha256: bytes
    encrypted_sha256: bytes


def kind_of(message: e2e.Message) -> str:
    """Name the content field that is set, for example ``imageMessage``; empty when none is."""
    return next((field.name for field, _ in message.ListFields() if field.name not in _NOT_CONTENT), "")


def unwrap(message: e2e.Message) -> e2e.Message:
    """Return the message inside the wrappers that make it ephemeral, view-once, edited and the like."""
    kind = kind_of(message)
    while kind and isinstance(inner := getattr(message, kind), e2e.FutureProofMessage):
        message = inner.message
        kind = kind_of(message)
    return message


def is_conversation(message: e2e.Message) -> bool:
    """Tell whether a person would answer this: it says something, rather than changing or reacting."""
    return kind_of(unwrap(message)) not in _NOT_CONVERSATION


def text_of(message: e2e.Message) -> str:
    """Return the text or caption of a message, of an edited message the new one; empty when it has none."""
    message = unwrap(message)
    kind = kind_of(message)
    if kind == "conversation":
        return message.conversation
    if kind == "protocolMessage" and message.protocolMessage.HasField("editedMessage"):
        return text_of(message.protocolMessage.editedMessage)
    return (_string(message, kind, "text") or _string(message, kind, "caption")) if kind else ""


def media_of(message: e2e.Message) -> MediaReference | None:
    """Return where a message's media are; None when it has none."""
    message = unwrap(message)
    kind = kind_of(message)
    if kind not in _MEDIA_KINDS:
        return None
    media = getattr(message, kind)
    return MediaReference(
        kind=_MEDIA_KINDS[kind],
        direct_path=media.directPath,
        key=media.mediaKey,
        sha256=media.fileSHA256,
        encrypted_sha256=media.fileEncSHA256,
    )


def stanza_types(message: e2e.Message) -> tuple[str, str]:
    """Return the ``type`` of the stanza that carries a message, and the ``mediatype`` of its ``<enc>`` (or empty)."""
    message = unwrap(message)
    kind = kind_of(message)
    if kind in {"reactionMessage", "encReactionMessage"}:
        return "reaction", ""
    if kind == "pollUpdateMessage" or kind.startswith("pollCreationMessage"):
        return "poll", ""
    media_type = _MEDIA_TYPES.get(kind, "")
    if kind == "audioMessage" and message.audioMessage.PTT:
        media_type = "ptt"
    if kind == "videoMessage" and message.videoMessage.gifPlayback:
        media_type = "gif"
    return "media" if media_type else "text", media_type


def echo_of(message: e2e.Message) -> e2e.Message:
    """Copy a message without what belonged to its sending: secrets, device lists, sender keys."""
    copy = e2e.Message()
    copy.CopyFrom(message)
    copy.ClearField("messageContextInfo")
    copy.ClearField("senderKeyDistributionMessage")
    return copy


def text_message(text: str) -> e2e.Message:
    """Build a text message."""
    return e2e.Message(conversation=text)


def image_message(image: bytes, caption: str) -> tuple[e2e.Message, bytes]:
    """Encrypt an image and build the message that shows it.

    Args:
        image: A JPEG or PNG file.
        caption: Its caption; empty for none.

    Returns:
        The message, and the encrypted file. The file is to be stored, and where it is put into the message
        (`set_media_location`).

    Raises:
        InvalidError: the bytes are not a JPEG or PNG image.
    """
    try:
        with Image.open(io.BytesIO(image), formats=tuple(_MIME_TYPES)) as picture:
            mime_type = _MIME_TYPES[picture.format or ""]
            width, height = picture.size
            thumbnail = _thumbnail(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow reports a broken PNG as SyntaxError.
        raise InvalidError("the image is not a readable JPEG or PNG file") from error
    encrypted = encrypt_media(image, MediaKind.IMAGE)
    message = e2e.Message(
        imageMessage=e2e.ImageMessage(
            mimetype=mime_type,
            caption=caption or None,
            width=width,
            height=height,
            mediaKey=encrypted.key,
            fileSHA256=encrypted.sha256,
            fileEncSHA256=encrypted.encrypted_sha256,
            fileLength=encrypted.length,
            JPEGThumbnail=thumbnail,
        )
    )
    return message, encrypted.data


def set_media_location(message: e2e.Message, stored: StoredMedia) -> None:
    """Say in an image message where its file is stored."""
    message.imageMessage.URL = stored.url
    message.imageMessage.directPath = stored.direct_path


def _thumbnail(picture: Image.Image) -> bytes:
    """Shrink a picture to the JPEG that is seen before the image is downloaded."""
    # Shrinking comes first: a JPEG is then decoded at a fraction of its size.
    picture.thumbnail((_THUMBNAIL_EDGE, _THUMBNAIL_EDGE))
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, format="JPEG", quality=60)
    return encoded.getvalue()


def _string(message: e2e.Message, kind: str, field: str) -> str:
    """Return a string field of the content, empty when the content has no such field."""
    content: ProtobufMessage = getattr(message, kind)
    value = getattr(content, field, "")
    return value if isinstance(value, str) else ""
