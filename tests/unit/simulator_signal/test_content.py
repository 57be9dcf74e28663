"""Reading and building what messages say."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from gateway_worker.simulator.endpoints import StoredMedia
from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.media_crypto import MediaKind, decrypt_media
from gateway_worker.simulator.players.content import (
    echo_of,
    image_message,
    is_conversation,
    kind_of,
    media_of,
    set_media_location,
    stanza_types,
    text_of,
)
from gateway_worker.waproto import common, e2e

TEXT = e2e.Message(conversation="hello")
LINK = e2e.Message(extendedTextMessage=e2e.ExtendedTextMessage(text="see https://example.org"))
PHOTO = e2e.Message(imageMessage=e2e.ImageMessage(caption="a cat", directPath="/v/cat", mediaKey=b"k"))
VIEW_ONCE = e2e.Message(viewOnceMessageV2=e2e.FutureProofMessage(message=PHOTO))
REACTION = e2e.Message(reactionMessage=e2e.ReactionMessage(text="👍", key=common.MessageKey(ID="1")))
EDIT = e2e.Message(
    editedMessage=e2e.FutureProofMessage(
        message=e2e.Message(
            protocolMessage=e2e.ProtocolMessage(type=e2e.ProtocolMessage.MESSAGE_EDIT, editedMessage=TEXT)
        )
    )
)
VOICE = e2e.Message(audioMessage=e2e.AudioMessage(PTT=True))
GIF = e2e.Message(videoMessage=e2e.VideoMessage(gifPlayback=True))
CARD = e2e.Message(contactMessage=e2e.ContactMessage(displayName="Cat"))
POLL = e2e.Message(pollCreationMessageV3=e2e.PollCreationMessage(name="?"))
NOTHING = e2e.Message(messageContextInfo=e2e.MessageContextInfo(messageSecret=b"s"))


@pytest.mark.parametrize(
    ("message", "kind", "text", "conversation", "types"),
    [
        (TEXT, "conversation", "hello", True, ("text", "")),
        (LINK, "extendedTextMessage", "see https://example.org", True, ("text", "")),
        (PHOTO, "imageMessage", "a cat", True, ("media", "image")),
        (VIEW_ONCE, "viewOnceMessageV2", "a cat", True, ("media", "image")),
        (REACTION, "reactionMessage", "👍", False, ("reaction", "")),
        (EDIT, "editedMessage", "hello", False, ("text", "")),
        (VOICE, "audioMessage", "", True, ("media", "ptt")),
        (GIF, "videoMessage", "", True, ("media", "gif")),
        (CARD, "contactMessage", "", True, ("media", "vcard")),
        (POLL, "pollCreationMessageV3", "", True, ("poll", "")),
        (NOTHING, "", "", False, ("text", "")),
    ],
)
def test_messages_are_read(
    message: e2e.Message, kind: str, text: str, types: tuple[str, str], *, conversation: bool
) -> None:
    """Kind, text, whether it is answered, and the types of its stanza; wrappers are seen through."""
    assert kind_of(message) == kind
    assert text_of(message) == text
    assert is_conversation(message) is conversation
    assert stanza_types(message) == types


def test_media_are_found_inside_wrappers() -> None:
    """Path and key of a view-once photo; none in a text."""
    media = media_of(VIEW_ONCE)
    assert media is not None
    assert (media.kind, media.direct_path, media.key) == (MediaKind.IMAGE, "/v/cat", b"k")
    assert media_of(TEXT) is None


def test_an_echo_leaves_the_secret_out() -> None:
    """The same content, without what belonged to the original's sending."""
    message = e2e.Message()
    message.CopyFrom(PHOTO)
    message.messageContextInfo.messageSecret = b"secret"
    assert echo_of(message) == PHOTO


@pytest.mark.parametrize(("file_format", "mime_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png")])
def test_an_image_message_describes_its_image(file_format: str, mime_type: str) -> None:
    """Type, size, hashes and key fit the stored file, and the thumbnail is a small JPEG."""
    encoded = io.BytesIO()
    Image.new("RGBA" if file_format == "PNG" else "RGB", (400, 200), "red").save(encoded, file_format)
    message, encrypted = image_message(encoded.getvalue(), "caption")
    set_media_location(message, StoredMedia(url="https://mmg.whatsapp.net/v/1", direct_path="/v/1"))
    image = message.imageMessage
    assert (image.mimetype, image.width, image.height, image.caption) == (mime_type, 400, 200, "caption")
    assert (image.URL, image.directPath) == ("https://mmg.whatsapp.net/v/1", "/v/1")
    assert image.fileLength == len(encoded.getvalue())
    decrypted = decrypt_media(
        encrypted,
        MediaKind.IMAGE,
        key=image.mediaKey,
        sha256=image.fileSHA256,
        encrypted_sha256=image.fileEncSHA256,
    )
    assert decrypted == encoded.getvalue()
    with Image.open(io.BytesIO(image.JPEGThumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (100, 50))


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_image_is_refused(image: bytes) -> None:
    """Nothing, another format, and a broken file."""
    with pytest.raises(InvalidError):
        image_message(image, "")
