"""QR codes as people see them."""

from __future__ import annotations

import io

import pytest
import qrcode
from PIL import Image
from qrcode.constants import ERROR_CORRECT_L

from gateway_worker.sessions.qr import draw

CODE = "https://wa.me/settings/linked_devices#2@" + "x" * 160


@pytest.fixture
def matrix() -> list[list[bool]]:
    """The modules that must be seen, with the quiet zone."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=4)
    code.add_data(CODE)
    code.make(fit=True)
    modules: list[list[bool]] = code.get_matrix()
    return modules


def test_the_png_shows_every_module(matrix: list[list[bool]]) -> None:
    """Dark is black, light is white, eight pixels each, the quiet zone included."""
    with Image.open(io.BytesIO(draw(CODE).png)) as opened:
        image = opened.convert("L")
    assert image.size == (8 * len(matrix), 8 * len(matrix))
    seen = [[image.getpixel((8 * x + 4, 8 * y + 4)) == 0 for x in range(len(matrix))] for y in range(len(matrix))]
    assert seen == matrix


def test_the_terminal_shows_every_module(matrix: list[list[bool]]) -> None:
    """Two rows a line; light is printed, dark is left out."""
    upper_light, lower_light = {"█", "▀"}, {"█", "▄"}
    lines = draw(CODE).terminal.splitlines()
    seen: list[list[bool]] = []
    for line in lines:
        seen.append([character not in upper_light for character in line])
        seen.append([character not in lower_light for character in line])
    assert seen[: len(matrix)] == matrix
    assert draw(CODE).terminal.endswith("\n")
