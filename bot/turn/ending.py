"""How a turn ends: an outcome that is a value, and the sentence that goes with it."""

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
AGAIN = "the model is busy, trying again"
AGENT_GONE = "The agent that began this answer was removed, so it ends here."
TIRED = "I had to stop here: this took longer than I am allowed to work on one answer."
SPENT = "I have to stop here: {}"
TOO_OFTEN = "Those were many requests in one minute. Please wait a little, then write again."
BUSY = "The model behind me does not answer right now. Please try again in a little while."
BROKEN = (
    "I can't answer at the moment: the model refused the request. "
    "The operator finds the reason in the log."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What the person is told at the end, in Markdown, and how the turn is remembered.

    `again` offers a button that asks for the answer once more.
    """

    outcome: Outcome
    text: str
    again: bool = False


def closing(outcome: Outcome, said: str, note: str = "") -> Ending:
    """An ending that keeps what was said and adds a note."""
    return Ending(outcome, "\n\n".join(part for part in (said, note) if part) or SILENT)
