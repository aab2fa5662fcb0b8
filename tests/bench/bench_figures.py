"""Figures, each beside the baselines of the same run, as a table and as JSON.

Invariant: a figure carries its unit and every measurement it rests on; nothing here judges one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Baseline:
    """The same as a figure, of something simpler, measured in the same run and unit."""

    name: str
    measured: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.measured)


@dataclass(frozen=True)
class Figure:
    """What was measured, and its baselines. ``aim`` says in words what was aimed at, ``note`` what
    belongs to the measurement, ready to print."""

    name: str
    unit: str
    measured: tuple[float, ...]
    baselines: tuple[Baseline, ...]
    aim: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.measured)

    def ratio(self, baseline: Baseline) -> float:
        """Of the medians: measured by baseline."""
        return self.median / baseline.median

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "median": self.median,
            "baselines": [
                {**asdict(each), "median": each.median, "ratio": self.ratio(each)}
                for each in self.baselines
            ],
        }


def show(title: str, figures: Sequence[Figure], console: Console) -> None:
    """Prints figures as one table."""
    table = Table(title=title, title_justify="left", expand=False, show_lines=True)
    numeric = {"median", "spread", "its median", "ratio"}
    for heading in ("figure", "median", "spread", "baseline", "its median", "ratio"):
        table.add_column(heading, justify="right" if heading in numeric else "left")
    for figure in figures:
        name = "\n".join(filter(None, (figure.name, figure.note, figure.aim)))
        table.add_row(
            name,
            f"{number(figure.median)} {figure.unit}",
            spread(figure.measured),
            "\n".join(
                each.name + (f" ({each.note})" if each.note else "") for each in figure.baselines
            ),
            "\n".join(number(each.median) for each in figure.baselines),
            "\n".join(f"{figure.ratio(each):.2g}" for each in figure.baselines),
        )
    console.print(table)


def number(value: float) -> str:
    """A number with about three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(measured: Sequence[float]) -> str:
    """From the least to the most, where there is more than one."""
    if len(measured) < 2:
        return ""
    return f"{number(min(measured))} to {number(max(measured))}"
