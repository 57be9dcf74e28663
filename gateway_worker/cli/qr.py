"""QR codes drawn in a terminal, to be scanned from it."""

from __future__ import annotations

from typing import Final

import qrcode
from qrcode.constants import ERROR_CORRECT_L
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

QUIET_ZONE: Final = 4
"""Light modules around the code that ISO/IEC 18004 asks for."""

_NARROW_QUIET_ZONE: Final = 2
"""What every scanner tried gets along with, for small windows."""

# In full: "white" is grey in many palettes, and a code in the terminal's own colours is inverted in half of them.
_ON_COLOUR: Final = "#000000 on #ffffff"
_UPPER, _LOWER, _BOTH, _NONE = "▀", "▄", "█", " "


def matrix(text: str, *, quiet_zone: int = QUIET_ZONE) -> list[list[bool]]:
    """Return the modules of a QR code, row by row; True is dark.

    Args:
        text: What it says.
        quiet_zone: Light modules on each side.
    """
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=quiet_zone)
    code.add_data(text)
    code.make(fit=True)
    modules: list[list[bool]] = code.get_matrix()
    return modules


class TerminalCode:
    """A QR code as it is drawn in a terminal: two modules a character, one above the other.

    Args:
        rows: Its rows of block characters, all of one length.
        style: rich's style for them.

    Attributes:
        rows: The rows.
        style: The style.
        width: Columns that it takes.
    """

    def __init__(self, rows: list[str], style: str) -> None:
        self.rows = rows
        self.style = style
        self.width = len(rows[0])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A code that is folded by a narrow window is no code. Cropped, it shows that the window is too narrow.
        yield Text("\n".join(self.rows), style=self.style, no_wrap=True, overflow="crop")


def draw(text: str, console: Console) -> TerminalCode:
    """Draw a QR code for a console.

    Dark modules are black on white whatever the terminal's colours are. Without colours (``NO_COLOR``, a file) light
    modules are drawn and dark ones left out, which is right on a dark background; most scanners read both.
    """
    modules = matrix(text)
    if len(modules) > console.width or len(modules) // 2 > console.height:
        modules = matrix(text, quiet_zone=_NARROW_QUIET_ZONE)
    coloured = console.color_system is not None and not console.no_color
    if len(modules) % 2:
        modules.append([False] * len(modules[0]))
    rows = []
    for upper, lower in zip(modules[::2], modules[1::2], strict=True):
        cells = (_cell(top == coloured, bottom == coloured) for top, bottom in zip(upper, lower, strict=True))
        rows.append("".join(cells))
    return TerminalCode(rows, _ON_COLOUR if coloured else "")


def _cell(top: bool, bottom: bool) -> str:  # noqa: FBT001 - two pixels
    """Return the character that inks the upper, the lower, both or no halves."""
    if top and bottom:
        return _BOTH
    if top:
        return _UPPER
    return _LOWER if bottom else _NONE
