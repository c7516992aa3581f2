"""The right of one replica to write for a line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write for a line: the number of the acquisition that gave it."""

    line: str
    token: int
