"""What a measure gives: tables to read, and bars that are reached or not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise with its figure: `got` is at most (or at least) `limit`."""

    what: str
    got: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the promise is kept."""
        return self.got >= self.limit if self.at_least else self.got <= self.limit

    def row(self) -> list[str]:
        """The bar in words."""
        word = "at least" if self.at_least else "at most"
        kept = "yes" if self.reached else "**no**"
        unit = self.unit if self.unit in ("", "×") else f" {self.unit}"
        return [self.what, f"{word} {self.limit:g}{unit}", f"{short(self.got)}{unit}", kept]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; the first column names them."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as a page shows it."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(slots=True)
class Section:
    """One measure of a run: what was done, its tables, its bars, and figures for the picture."""

    title: str
    how: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def short(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
