"""Contract contents as WhatsApp messages."""

from __future__ import annotations

from gateway_worker.engine.convert import content, outbound
from gateway_worker.waproto import neonize
from wagateway.worker.v1 import content_pb2


def test_an_outgoing_view_once_image() -> None:
    """View-once is said by the wrapper and by the image; the secret is on the outside, where it is stored from."""
    upload = neonize.UploadResponse(
        url="https://mmg.whatsapp.net/x",
        DirectPath="/x",
        Handle="",
        MediaKey=b"k",
        FileEncSHA256=b"e",
        FileSHA256=b"h",
        FileLength=5,
    )
    preview = outbound.Preview("image/jpeg", 8, 9, b"thumb")
    image = content_pb2.ImageContent(caption="c", view_once=True)
    message = outbound.with_secret(outbound.image_message(image, preview, upload, None), b"s" * 32)
    inner = message.viewOnceMessage.message.imageMessage
    assert message.messageContextInfo.messageSecret == b"s" * 32
    assert (inner.viewOnce, inner.caption, inner.mimetype) == (True, "c", "image/jpeg")
    assert (inner.URL, inner.directPath, inner.mediaKey) == ("https://mmg.whatsapp.net/x", "/x", b"k")
    assert (inner.fileSHA256, inner.fileEncSHA256, inner.fileLength) == (b"h", b"e", 5)
    assert (inner.width, inner.height, inner.JPEGThumbnail) == (8, 9, b"thumb")
    assert inner.mediaKeyTimestamp > 1_700_000_000


def test_a_plain_text_is_sent_plainly() -> None:
    """Without a context a text is the plain kind; with one, the extended kind."""
    text = content_pb2.TextContent(text="hi")
    assert content.kind_of(outbound.text_message(text, outbound.context_info("c", None, []))) == "conversation"
    quoted = content_pb2.QuotedMessage(message_id="m", sender="62@s.whatsapp.net")
    context = outbound.context_info("c", quoted, [])
    assert content.kind_of(outbound.text_message(text, context)) == "extendedTextMessage"
    assert context is not None
    assert context.participant == "62@s.whatsapp.net"
