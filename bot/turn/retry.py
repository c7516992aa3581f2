"""An answer that failed and is asked for again: the button, and the message that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.messages import Buttons, Json, User
from bot.store.journal import Record

PREFIX = "again:"
BUTTON = "Try again"
TRYING = "Trying again."
TOO_FAR = "I no longer have that message. Please write it again."
TRIED = "This was already tried again."
NOT_YOURS = "Only the person who asked can do this."
ASKED_AGAIN = "[{} asks for this again: the answer did not come.]"


@dataclass(frozen=True, slots=True)
class Retry:
    """A message to be answered once more: the turn that failed, its message and its content."""

    turn: str
    message: int
    content: Sequence[Json]

    def content_for(self, person: User) -> list[Json]:
        """The content in the new turn, with a line that says why it is there twice."""
        return [{"type": "text", "text": ASKED_AGAIN.format(person.name)}, *self.content]


def retry_button(turn: str) -> Buttons:
    """The button under a turn's apology."""
    return [[(BUTTON, PREFIX + turn)]]


def parse_retry(data: str) -> str | None:
    """The turn that a button asks for again, or None where it asks for something else."""
    return data.removeprefix(PREFIX) if data.startswith(PREFIX) else None


def find_retry(
    records: Sequence[Record], turn: str, entry: str, person: int, *, private: bool
) -> Retry | str:
    """What the press `entry` asks for, from the newest records, or in words why that can't be had.

    A turn is tried again by one press only, however often the button was pressed.
    """
    messages = [record for record in records if record.kind == "person"]
    asked = next((one for one in messages if one.body["turn"] == turn), None)
    if asked is None:
        return TOO_FAR
    if not private and asked.body.get("by") != person:
        return NOT_YOURS
    if any(one.body.get("again") == turn and one.body["turn"] != entry for one in messages):
        return TRIED
    first = 1 if "again" in asked.body else 0
    return Retry(turn, asked.body["message"], asked.body["content"][first:])
