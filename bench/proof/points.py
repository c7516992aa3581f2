"""A named moment in a turn's life: where its request, or the store's answer, is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.proof.store_relay import Trap, Words


@dataclass(frozen=True, slots=True)
class Point:
    """A named point: which kind of message reaches it, and where it is caught."""

    name: str
    kind: str
    script: str | None
    moment: Literal["before", "after"]
    fits: Callable[[Words], bool] = lambda _: True
    skip: int = 0

    def trap(self) -> Trap:
        """A fresh trap for it."""
        return Trap(self.script, self.moment, self.fits, self.skip)
