"""Looks at an image before it is sent. Pillow is imported when the first image is sent, not before: 10 MB."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway_worker.engine.convert.outbound import Preview
from gateway_worker.engine.failures import CommandFailedError
from wagateway.engine.v1 import engine_pb2

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES: Final = 16 * 1024 * 1024
"""Largest file, as the contract says."""

MAX_PIXELS: Final = 50_000_000
"""Largest image: 200 MB when it is decoded."""

_THUMBNAIL: Final = (100, 100)
_QUALITY: Final = 60
_MIME_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_ORIENTATION: Final = 0x0112
_ON_ITS_SIDE: Final = range(5, 9)


def read_file(path: Path) -> bytes:
    """Read a media file.

    Raises:
        CommandFailedError: INVALID_MEDIA: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandFailedError(engine_pb2.FAILURE_KIND_INVALID_MEDIA, f"not readable: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise CommandFailedError(engine_pb2.FAILURE_KIND_INVALID_MEDIA, "larger than 16 MiB")
    return data


def probe_image(data: bytes) -> Preview:
    """Find out what an image is and make its thumbnail: JPEG, at most 100 pixels wide and high.

    Blocks for the time of decoding, up to some hundred milliseconds: not for the event loop's thread.

    Raises:
        CommandFailedError: INVALID_MEDIA: it is no whole JPEG, PNG or WebP image, or has too many pixels.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415 - see above

    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns; the one below refuses, and before decoding
    try:
        with Image.open(io.BytesIO(data), formats=list(_MIME_TYPES)) as image:
            _check_size(image)
            mime_type = _MIME_TYPES[image.format or ""]
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                width, height = height, width
            image.draft("RGB", _THUMBNAIL)
            image.thumbnail(_THUMBNAIL)
            return Preview(mime_type, width, height, _jpeg(ImageOps.exif_transpose(image).convert("RGBA")))
    except CommandFailedError:
        raise
    except Exception as error:  # Pillow raises whatever its decoders meet in hostile bytes
        detail = f"not an image: {type(error).__name__}"
        raise CommandFailedError(engine_pb2.FAILURE_KIND_INVALID_MEDIA, detail) from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise CommandFailedError(engine_pb2.FAILURE_KIND_INVALID_MEDIA, "more than 50 megapixels")


def _jpeg(image: Image.Image) -> bytes:
    """Encode an RGBA image as JPEG, what is transparent as white."""
    from PIL import Image  # noqa: PLC0415 - see above

    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()
