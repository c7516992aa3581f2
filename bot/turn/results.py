"""How a turn ends: an outcome, and the sentence that goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["done", "refused", "failed", "stopped"]

REFUSED = "I can't help with that."
SILENT = "I have nothing to add."
CUT = "_(The answer was cut here: it reached its length limit.)_"
FULL = "This conversation has grown too long for me. Send /new to begin a new one."
STOPPED = "_(stopped)_"
STOPPED_EARLY = "Stopped."
TRYING_AGAIN = "the model is busy, trying again"
AGENT_GONE = "The agent that began this answer was removed, so it ends here."
OUT_OF_TIME = "I had to stop here: this took longer than one answer may take."
OUT_OF_BUDGET = "I have to stop here: {}"
TOO_MANY_REQUESTS = (
    "That was too many requests in one minute. Please wait a little, then write again."
)
BUSY = "The model behind me does not answer right now. Please try again in a little while."
BROKEN = (
    "I can't answer at the moment: the model refused the request. "
    "The operator can find the reason in the log."
)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What the person reads at the end, in Markdown, and how the turn is recorded.

    `can_retry` offers a button that asks for the answer once more.
    """

    outcome: Outcome
    text: str
    can_retry: bool = False


def turn_result(outcome: Outcome, said: str, note: str = "") -> TurnResult:
    """A result that keeps what was said and adds a note."""
    return TurnResult(outcome, "\n\n".join(part for part in (said, note) if part) or SILENT)
