"""How much longer something takes with twice the text, whoever else uses the machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

SHORT, LONG = 1_000, 64_000
WORTH_TIMING = 0.004
MOST = 2.5
"""Twice the text may take so many times as long; what is not linear takes four times, or more."""
CLEARLY = 3.5
FEWEST, TRIES = 3, 40


def growth(
    seconds: Callable[[Any], float], text_of: Callable[[int], Any], longest: int = LONG
) -> tuple[float, int]:
    """How much longer twice the text takes, where that can be told, and the size of it once.

    `seconds` tells the CPU time of one go, `text_of` makes a text of some size.
    """
    size = SHORT
    while seconds(text_of(size)) < WORTH_TIMING:
        size *= 2
        if size > longest:
            return 0.0, size
    ratio = _doubled(seconds, text_of, size)
    if ratio <= MOST:
        return ratio, size
    # A step on the way, such as memory that is asked for once, doubles only here.
    again = _doubled(seconds, text_of, 2 * size)
    return min(ratio, again), size


def _doubled(seconds: Callable[[Any], float], text_of: Callable[[int], Any], size: int) -> float:
    once = twice = math.inf
    for tried in range(TRIES):  # others use the machine: the quickest of many is the true one
        once = min(once, seconds(text_of(size)))
        twice = min(twice, seconds(text_of(2 * size)))
        if twice <= MOST * once or (tried >= FEWEST and twice > CLEARLY * once):
            break
    return twice / max(once, 1e-6)
