"""QR codes as people see them: a PNG, and blocks in a terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import qrcode
from qrcode.constants import ERROR_CORRECT_L

_QUIET_ZONE = 4  # modules of white around the code, as the standard demands
_SCALE = 8  # pixels a module in the PNG


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn QR code.

    Attributes:
        png: A PNG image, black on white, 8 pixels a module, with quiet zone.
        terminal: Lines of half blocks, two modules a character, dark modules printed as spaces: a terminal with light
            text on a dark ground shows it right. Ends with a newline.
    """

    png: bytes
    terminal: str


@lru_cache(maxsize=256)  # every stream and GetPairing of a session shows the same code
def draw(text: str) -> Drawing:
    """Draw ``text``. WhatsApp's codes are some 200 characters long and need the lowest error correction."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=_QUIET_ZONE, box_size=_SCALE)
    code.add_data(text)
    code.make(fit=True)
    buffer = io.BytesIO()
    code.make_image().save(buffer, "PNG")
    return Drawing(png=buffer.getvalue(), terminal=_blocks(code.get_matrix()))


def _blocks(matrix: list[list[bool]]) -> str:
    """Two rows of modules become one line of characters."""
    width = len(matrix[0])
    rows = [*matrix, [False] * width] if len(matrix) % 2 else matrix
    blocks = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
    lines = (
        "".join(blocks[upper, lower] for upper, lower in zip(top, bottom, strict=True))
        for top, bottom in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(lines) + "\n"
