"""How a turn ends: an outcome with a sentence, and a button that asks for a failed answer again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bot.messages import Buttons, Json, PersonId, User
from bot.store.journal import Record

Outcome = Literal["done", "refused", "failed", "stopped"]

REFUSED = "I can't help with that."
SILENT = "I have nothing to add."
CUT = "_(The answer was cut here: it reached its length limit.)_"
FULL = "This conversation has grown too long for me. Send /new to begin a new one."
PARTIAL = "⚠️ Response incomplete due to error"
ANSWERED_ANEW = "The answer was interrupted and begins anew."
STOPPED = "_(stopped)_"
STOPPED_EARLY = "Stopped."
STOPPED_BY_PERSON = "stopped"
TRYING_AGAIN = "the model is busy, trying again"
PRESET_GONE = "The preset with which this answer began is gone, so it ends here."
AGENT_GONE = "The agent that began this answer was removed, so it ends here."
OUT_OF_TIME = "I had to stop here: this took longer than one answer may take."
ENDED_BY_RULE = "I had to stop here: a rule of this assistant ended the answer."
OUT_OF_BUDGET = "I have to stop here: {}"
TOO_MANY_REQUESTS = (
    "That was too many requests in one minute. Please wait a little, then write again."
)
TOO_MUCH_AT_ONCE = "I have had too many requests this minute. Please try again in a minute."
BUSY = "The model behind me does not answer right now. Please try again in a little while."
BROKEN = (
    "I can't answer at the moment: something in my setup has to be fixed first. It is not "
    "your fault. Please try again later."
)
OWN_MODEL = (
    "I can't answer: the model of your preset was refused. `/model default` goes back to the "
    "agent's own model, and /model lists the others."
)
LEAVE_PRESET = "Send /presets to choose another one, or `/presets use none` for the agent itself."
WAYS_OUT = {
    "preset": LEAVE_PRESET,
    "draft": "`/edit AGENT profile NAME` gives it another one, /test off ends the test.",
}
"""What to do where a person's own choice cannot answer, by the rule that it is."""
NO_AGENT = "No agent answers here yet."
NOT_TAKEN = (
    "I can't answer this: the model refused something in it. Please put it another way, or send "
    "/new to begin a new conversation."
)
TOO_LONG = (
    "This is too long for the model. Please send less at once, or send /new to begin a new "
    "conversation."
)
UNREAD = "_(I can't read {} yet, so I answered only the text.)_"
LEFT_OUT = "_(Earlier messages are left out from now on: the model refused them.)_"

_OVER_HTTP = {
    OWN_MODEL: "The model of this preset was refused. Give it another primary_model, or null for "
    "the agent's own.",
    FULL: "This conversation has grown too long for me. Begin a new session.",
    NOT_TAKEN: "The model refused something in this message. Put it another way, or begin a new "
    "session.",
    TOO_LONG: "This is too long for the model. Send less at once, or begin a new session.",
}
"""What names a command of chats, as it is said where there are none."""


def over_http(note: str) -> str:
    """The host's words on the end of a turn, for those who read them over HTTP."""
    return _OVER_HTTP.get(note, note)


TOO_MANY = "TooManyRequests"
OVER_A_LIMIT = frozenset({"OutOfBudget", TOO_MANY})
"""The kinds of error of turns that a limit of the host does not allow."""
BY_RULE = "EndedByRule"
"""The kind of error of a turn that a rule of the agent's profile ended so."""
NO_PROFILE = "ProfileMissing"
"""The kind of error of a turn whose agent has lost its profile since it began."""
TIMEOUT = "TimeoutError"
"""The kind of error of a turn whose model did not answer in time, each time it was asked."""

RETRY_PREFIX = "again:"
LETTER_PREFIX = "letter:"
RETRY_BUTTON = "Try again"
RETRYING = "Trying again."
MESSAGE_GONE = "I no longer have that message. Please write it again."
LETTER_GONE = "That message is no longer set aside: it was tried again or removed."
ALREADY_RETRIED = "This was already tried again."
NOT_YOURS = "Only the person who asked can do this."
ASKED_AGAIN = "[{} asks for this again: the answer did not come.]"


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What the person reads at the end, in Markdown, and how the turn is recorded.

    `can_retry` offers a button that asks for the answer once more. `is_refused`: what was said in
    the turn cannot be sent to the model again. `said` is the agent's part of the text, `note` the
    host's; `partial` is what is known of an answer that broke off, `error` the kind of what went
    wrong.
    """

    outcome: Outcome
    text: str
    can_retry: bool = False
    is_refused: bool = False
    said: str = ""
    note: str = ""
    partial: Json | None = None
    error: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether there is no answer: it failed, or a limit of the host does not allow one."""
        return self.outcome == "failed" or self.error in OVER_A_LIMIT


def turn_result(
    outcome: Outcome, said: str, note: str = "", partial: Json | None = None
) -> TurnResult:
    """A result that keeps what was said and adds a note, and the mark of a `partial` answer."""
    mark = f"_{PARTIAL}_" if partial else ""
    text = "\n\n".join(part for part in (said, mark, note) if part) or SILENT
    return TurnResult(outcome, text, said=said, note=note, partial=partial)


def partial_facts(error: str, chunks: int) -> Json:
    """What is kept with an answer that broke off after so many pieces."""
    return {
        "partial": True,
        "error": error,
        "completion_status": "partial",
        "chunks_received": chunks,
    }


@dataclass(frozen=True, slots=True)
class Retry:
    """A message to be answered once more: the turn that failed, its message and its content.

    `given` is what rules read of it, where they did.
    """

    turn: str
    message: int
    content: Sequence[Json]
    given: Json | None = None

    def content_for(self, person: User) -> list[Json]:
        """The content in the new turn, with a line that says why it is there twice."""
        return [{"type": "text", "text": ASKED_AGAIN.format(person.name)}, *self.content]


def retry_button(turn: str) -> Buttons:
    """The button under a turn's apology."""
    return [[(RETRY_BUTTON, RETRY_PREFIX + turn)]]


def letter_button(entry: str, person: PersonId) -> Buttons:
    """The button under the word that a person's message was set aside."""
    return [[(RETRY_BUTTON, f"{LETTER_PREFIX}{entry}:{person}")]]


def parse_letter(data: str) -> tuple[str, int] | None:
    """The entry that was set aside and whose message it was, where a button asks for it again."""
    entry, _, person = data.removeprefix(LETTER_PREFIX).partition(":")
    if not data.startswith(LETTER_PREFIX) or not person.isdecimal():
        return None
    return entry, int(person)


def parse_retry(data: str) -> str | None:
    """The turn that a button asks for again, or None where it asks for something else."""
    return data.removeprefix(RETRY_PREFIX) if data.startswith(RETRY_PREFIX) else None


def find_retry(
    records: Sequence[Record], turn: str, entry: str, person: PersonId, *, private: bool
) -> Retry | str:
    """What the press `entry` asks for, from the newest records, or in words why that can't be had.

    A turn is tried again by one press only, however often the button was pressed.
    """
    messages = [record for record in records if record.kind == "person"]
    asked = next((one for one in messages if one.body["turn"] == turn), None)
    if asked is None:
        return MESSAGE_GONE
    if not private and asked.body.get("by") != person:
        return NOT_YOURS
    if any(one.body.get("again") == turn and one.body["turn"] != entry for one in messages):
        return ALREADY_RETRIED
    first = 1 if "again" in asked.body else 0
    content, given = asked.body["content"][first:], asked.body.get("given")
    return Retry(turn, asked.body["message"], content, given)
