"""QR codes in a terminal: what is drawn must be the code, module for module."""

from __future__ import annotations

import io
from typing import Final

import pytest
from rich.console import Console

from gateway_worker.cli.qr import QUIET_ZONE, TerminalCode, draw, matrix

# As long as WhatsApp's: a reference, three keys of 32 bytes in base64, and the client's type.
CODE = f"https://wa.me/settings/linked_devices#2@{'Ab3_' * 38},{','.join(['9' * 44] * 3)},1"

INKED: Final = {"█": (True, True), "▀": (True, False), "▄": (False, True), " ": (False, False)}


def console(*, colour: bool = True, width: int = 100, height: int = 60, no_color: bool = False) -> Console:
    """A terminal of a size, or none without colour."""
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
        no_color=no_color,
    )


def modules(drawn: TerminalCode, *, dark_is_inked: bool) -> list[list[bool]]:
    """Read the modules back from a drawing; True is dark."""
    rows: list[list[bool]] = []
    for line in drawn.rows:
        cells = [INKED[character] for character in line]
        rows.append([upper == dark_is_inked for upper, _ in cells])
        rows.append([lower == dark_is_inked for _, lower in cells])
    return rows


@pytest.mark.parametrize("text", ["a", "https://example", CODE])
def test_with_colours_dark_modules_are_inked(text: str) -> None:
    """With colours dark modules are inked."""
    expected = matrix(text)
    assert modules(draw(text, console()), dark_is_inked=True)[: len(expected)] == expected


@pytest.mark.parametrize("kind", [{"colour": False}, {"no_color": True}])
def test_without_colours_light_modules_are_inked_for_dark_terminals(kind: dict[str, bool]) -> None:
    """Without colours light modules are inked for dark terminals."""
    expected = matrix(CODE)
    drawn = draw(CODE, console(**kind))
    assert modules(drawn, dark_is_inked=False)[: len(expected)] == expected
    assert drawn.style == ""


def test_the_colours_are_black_and_white_whatever_the_palette_is() -> None:
    """The colours are black and white whatever the palette is."""
    terminal = console()
    terminal.print(draw(CODE, terminal))
    file = terminal.file
    assert isinstance(file, io.StringIO)
    lines = [line for line in file.getvalue().split("\n") if line]
    assert all(line.startswith("\x1b[38;2;0;0;0;48;2;255;255;255m") for line in lines)
    assert lines[0].count(" ") == len(matrix(CODE)), "the quiet zone is painted too, to its full width"


def test_the_code_of_whatsapp_fits_80_columns_with_its_whole_quiet_zone() -> None:
    """The code of WhatsApp fits 80 columns with its whole quiet zone."""
    width = draw(CODE, console(width=80, height=50)).width
    assert width == len(matrix(CODE))
    assert width <= 80
    assert not any(any(row[:QUIET_ZONE]) for row in matrix(CODE))


def test_a_small_window_costs_quiet_zone_first() -> None:
    """A small window costs quiet zone first."""
    roomy, tight = draw(CODE, console(height=60)), draw(CODE, console(height=24))
    assert tight.width == roomy.width - 4


def test_a_narrow_window_crops_rather_than_folds() -> None:
    """A narrow window crops rather than folds."""
    terminal = console(width=30)
    terminal.print(draw(CODE, terminal))
    file = terminal.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue().count("\n") == len(draw(CODE, terminal).rows)
