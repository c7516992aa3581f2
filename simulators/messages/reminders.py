"""What the sandbox's script does where a host reminds it: it asks for a date, or names a source.

Without a reminder it is as hasty as a model can be: it takes the day to be today, and answers from
memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from simulators.messages.conversation import Message
from simulators.messages.tool_intents import Intent, OfferedTools, find_intent
from simulators.messages.validate import ModelRequest

WHICH_DAY = "For which date? Write it as **12 March**, for example."
_REFLECT = re.compile(r"^\s*Reflect\b", re.MULTILINE)
_ASK = re.compile(r"\bdepends? on a date\b.{0,300}\bask\b", re.IGNORECASE | re.DOTALL)
_SOURCE = re.compile(r"\bSource: ")
_PLAN = re.compile(r"\b(?:book|reserve|schedule|arrange|plan)\s+\w", re.IGNORECASE)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAY = re.compile(
    rf"\b\d{{4}}-\d\d-\d\d\b|\b\d{{1,2}}(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?:{_MONTHS})[a-z]*\b|"
    rf"\b(?:{_MONTHS})[a-z]*\s+\d{{1,2}}\b|\b(?:today|tonight|tomorrow)\b|"
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"\b(?:tell me|what do you know|what is known)\s+about\s+(?P<what>[^\n]{1,200})", re.IGNORECASE
)


def is_reminder(text: str) -> bool:
    """Whether a text is of the host, which reminds the model of something."""
    return bool(_REFLECT.search(text) or _ASK.search(text))


def reflects(request: ModelRequest) -> bool:
    """Whether the model is to look at its last answer again."""
    return any(_REFLECT.search(text) for text in _newest(request))


def heard(request: ModelRequest) -> list[str]:
    """The texts of the newest message of a person, without what only reminds."""
    for texts in _said_by_people(request.messages):
        if others := [text for text in texts if not is_reminder(text)]:
            return others
    return request.user_texts


def sourced(text: str, request: ModelRequest, *names: str) -> str:
    """An answer with its source, where the agent is told to name one."""
    if not _SOURCE.search(request.system_text) and not reflects(request):
        return text
    return f"{text}\n\nSource: {', '.join(f'`{name}`' for name in names) or 'none'}"


def looked_up(text: str, request: ModelRequest) -> Intent | str | None:
    """What is said or searched about a subject; None where the text asks about none."""
    found = _SUBJECT.search(text)
    if found is None:
        return None
    subject = found["what"].strip(" ?.!\"'`")
    if not reflects(request):
        return f"From memory: I have heard of “{subject}”, and that is all that I know."
    intent = find_intent(f"search for {subject}", OfferedTools(request.tools))
    if intent is not None and intent.calls:
        return intent
    return sourced(f"I have heard of “{subject}”, and found nothing about it.", request)


def planned(text: str, request: ModelRequest) -> str | None:
    """What is said to somebody who plans something for a day, or who says for which."""
    wish = text
    if not _PLAN.search(text):
        if not (_DAY.search(text) and _was_asked(request)):
            return None
        wish = f"{_before(request)}, {text.strip()}"
    wish = " ".join(wish.split())[:200]
    if _DAY.search(wish):
        return f"I took it down: “{wish}”. I am a script, so nothing was booked."
    if any(_ASK.search(reminder) for reminder in _newest(request)):
        return WHICH_DAY
    return f"I took it down for today: “{wish}”. I am a script, so nothing was booked."


def _newest(request: ModelRequest) -> list[str]:
    """The texts of the message that the request ends with."""
    return _texts(request.messages[-1]) if request.messages else []


def _texts(message: Message) -> list[str]:
    return [placed.block["text"] for placed in message.of("text")]


def _said_by_people(messages: Sequence[Message]) -> Iterator[list[str]]:
    """The texts of people's messages, the newest first."""
    for message in reversed(messages):
        if message.role == "user" and (texts := _texts(message)):
            yield texts


def _was_asked(request: ModelRequest) -> bool:
    """Whether the newest answer asked for the day."""
    answers = [one for one in request.messages if one.role == "assistant"]
    return bool(answers) and any(WHICH_DAY in text for text in _texts(answers[-1]))


def _before(request: ModelRequest) -> str:
    """The newest plan that somebody wrote without its day."""
    for texts in _said_by_people(request.messages):
        for text in texts:
            if not is_reminder(text) and (found := _PLAN.search(text)):
                return text[found.start() :].strip()
    return ""
