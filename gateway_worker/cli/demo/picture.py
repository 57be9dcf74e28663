"""The picture that the demo sends."""

from __future__ import annotations

import io
import math
from typing import Final

from PIL import Image, ImageDraw

_SIZE: Final = (480, 320)
_QUALITY: Final = 88


def make_picture() -> bytes:
    """Return a small JPEG: hills in the evening, drawn here so that nothing need be shipped or fetched."""
    width, height = _SIZE
    image = Image.new("RGB", _SIZE)
    draw = ImageDraw.Draw(image)
    for y in range(height):
        glow = y / height
        draw.line([(0, y), (width, y)], fill=(int(40 + 200 * glow), int(50 + 110 * glow), int(110 + 20 * glow)))
    draw.ellipse((310, 120, 400, 210), fill=(255, 226, 150))
    for layer, colour in enumerate(((92, 70, 96), (62, 54, 84), (34, 36, 62))):
        base = 190 + 36 * layer
        ridge = [(x, base + int(24 * math.sin(x / (70 - 12 * layer) + 2 * layer))) for x in range(0, width + 8, 8)]
        draw.polygon([*ridge, (width, height), (0, height)], fill=colour)
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=_QUALITY)
    return data.getvalue()
