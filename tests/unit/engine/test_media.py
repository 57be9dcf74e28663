"""Looking at images before they are sent."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from gateway_worker.engine.failures import CommandFailedError
from gateway_worker.engine.media import MAX_BYTES, probe_image, read_file
from wagateway.engine.v1 import engine_pb2


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Encode an image."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(("kind", "mime_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_an_image_is_what_its_bytes_say(kind: str, mime_type: str) -> None:
    """Kind and size come from the bytes; the thumbnail is a JPEG of at most 100 pixels that keeps the shape."""
    preview = probe_image(encoded(Image.new("RGB", (400, 200), "teal"), kind))
    assert (preview.mime_type, preview.width, preview.height) == (mime_type, 400, 200)
    with Image.open(io.BytesIO(preview.thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (100, 50))
    assert len(preview.thumbnail) < 10_000


def test_a_picture_that_was_taken_on_its_side_is_shown_upright() -> None:
    """Width, height and thumbnail are those of the picture as it is shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    preview = probe_image(encoded(Image.new("RGB", (400, 200)), "JPEG", exif=exif))
    assert (preview.width, preview.height) == (200, 400)
    with Image.open(io.BytesIO(preview.thumbnail)) as thumbnail:
        assert thumbnail.size == (50, 100)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_every_kind_of_pixel_makes_a_thumbnail(mode: str) -> None:
    """Grey, palette, transparent and printing colours all become JPEG."""
    kind = "JPEG" if mode == "CMYK" else "PNG"
    preview = probe_image(encoded(Image.new(mode, (20, 10)), kind))
    assert preview.thumbnail.startswith(b"\xff\xd8")


def test_what_is_transparent_is_white() -> None:
    """A thumbnail has no transparency: nothing is shown as black that was not."""
    preview = probe_image(encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"))
    with Image.open(io.BytesIO(preview.thumbnail)) as thumbnail:
        assert thumbnail.getpixel((10, 10)) == (255, 255, 255)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        encoded(Image.new("RGB", (10, 10)), "GIF"),
        encoded(Image.effect_noise((300, 300), 50), "PNG")[:2000],
        encoded(Image.new("1", (10_000, 6_000)), "PNG"),
    ],
    ids=["empty", "text", "gif", "cut off", "too many pixels"],
)
def test_what_is_not_an_image_of_these_kinds_is_refused(data: bytes) -> None:
    """Nothing but whole JPEG, PNG and WebP images of a bearable size gets through."""
    with pytest.raises(CommandFailedError) as refused:
        probe_image(data)
    assert refused.value.failure.kind == engine_pb2.FAILURE_KIND_INVALID_MEDIA


def test_files_that_cannot_be_sent(tmp_path: Path) -> None:
    """A file that is not there, is a folder or is too large is refused."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for path in (tmp_path / "missing", tmp_path, large):
        with pytest.raises(CommandFailedError) as refused:
            read_file(path)
        assert refused.value.failure.kind == engine_pb2.FAILURE_KIND_INVALID_MEDIA
    (tmp_path / "fine").write_bytes(b"x")
    assert read_file(tmp_path / "fine") == b"x"
