"""An answer that failed and is asked for again: the button, and the message that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.messages import Buttons, Json, User
from bot.store.journal import Record

PREFIX = "again:"
BUTTON = "Try again"
TRYING = "Trying again."
TOO_FAR = "I don't have that message at hand any more. Please write it again."
TRIED = "This was tried again already."
NOT_YOURS = "Only the person who asked can do this."
ASKED_AGAIN = "[{} asks for this once more: the answer did not come.]"


@dataclass(frozen=True, slots=True)
class Retry:
    """A message to be answered once more: the turn that failed, its message and its content."""

    turn: str
    message: int
    content: Sequence[Json]

    def said_by(self, person: User) -> list[Json]:
        """The content as the new turn's: with a line that tells why it is there twice."""
        return [{"type": "text", "text": ASKED_AGAIN.format(person.name)}, *self.content]


def retry_button(turn: str) -> Buttons:
    """The button under a turn's apology."""
    return [[(BUTTON, PREFIX + turn)]]


def parse_retry(data: str) -> str | None:
    """The turn that a press asks for again, or None where it asks for something else."""
    return data.removeprefix(PREFIX) if data.startswith(PREFIX) else None


def find_retry(
    records: Sequence[Record], turn: str, entry: str, person: int, *, private: bool
) -> Retry | str:
    """What the press `entry` asks for, from the newest records, or the word why it gets nothing.

    A turn is tried again by one press only, however often the button was pressed.
    """
    persons = [record for record in records if record.kind == "person"]
    asked = next((r for r in persons if r.body["turn"] == turn), None)
    if asked is None:
        return TOO_FAR
    if not private and asked.body.get("by") != person:
        return NOT_YOURS
    if any(r.body.get("again") == turn and r.body["turn"] != entry for r in persons):
        return TRIED
    first = 1 if "again" in asked.body else 0
    return Retry(turn, asked.body["message"], asked.body["content"][first:])
