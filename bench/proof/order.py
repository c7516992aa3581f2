"""What is ordered: which seed, how many tries, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.proof.nursery import Nursery


@dataclass(frozen=True, slots=True)
class Order:
    """One row's order; `short` is the version of the test suite, whose hosts a nursery may fork."""

    folder: Path
    seed: int
    short: bool = True
    kills: int = 300
    at_each: int = 20
    nursery: Nursery | None = None

    def pick(self, short: int, full: int) -> int:
        """A count for the short or the full version."""
        return short if self.short else full
