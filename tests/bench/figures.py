"""Numbers with their units and aims, and how they are shown."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console
from rich.table import Table

_COMPARISONS: Final = {"≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should be.

    Attributes:
        comparison: How it should lie to the limit.
        limit: The limit, in the figure's unit.
    """

    comparison: Literal["≤", "≥"]
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value is as it should be."""
        return bool(_COMPARISONS[self.comparison](value, self.limit))


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number.

    Attributes:
        key: Its name in JSON, which says the unit.
        label: What it is, for people.
        value: The number.
        unit: Its unit, for people; empty: a ratio or a count.
        aim: What it should be; None: it is only told.
    """

    key: str
    label: str
    value: float
    unit: str = ""
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """What one scenario measured.

    Attributes:
        title: What was done, for people.
        figures: The numbers.
    """

    title: str
    figures: Sequence[Figure]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    Args:
        values: At least one, in any order.
        share: Above 0, at most 1.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def rounded(value: float) -> float:
    """Four significant digits: a benchmark on a shared machine knows no more."""
    return float(f"{value:.4g}")


def show(console: Console, sections: Sequence[Section]) -> None:
    """Print the figures as a table."""
    table = Table(show_lines=False, pad_edge=False)
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("unit")
    table.add_column("aim", justify="right")
    for section in sections:
        table.add_section()
        table.add_row(f"[bold]{section.title}[/]")
        for figure in section.figures:
            aim = "" if figure.aim is None else f"{figure.aim.comparison} {figure.aim.limit:g}"
            colour = "" if figure.aim is None else ("[green]" if figure.aim.met(figure.value) else "[red]")
            table.add_row(f"  {figure.label}", f"{colour}{rounded(figure.value):g}", figure.unit, aim)
    console.print(table)


def as_json(sections: Sequence[Section]) -> dict[str, float]:
    """The figures by key."""
    return {figure.key: rounded(figure.value) for section in sections for figure in section.figures}
