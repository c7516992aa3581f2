"""Whether a turn goes round in circles: the same call a third time, or two calls in turns; pure."""

from __future__ import annotations

from collections.abc import Sequence

SAME = 3


def goes_round(made: Sequence[str], call: str) -> bool:
    """Whether one more call makes a loop of those that were made in this turn, by their digests."""
    if made.count(call) >= SAME - 1:
        return True
    if len(made) < SAME:
        return False
    first, second, third = made[-SAME:]
    return second == call and first == third != call
