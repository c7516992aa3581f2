"""The sandbox's script: answers a few plain requests, and says that it is a script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from simulators.messages.arithmetic import worked_out
from simulators.messages.reminders import heard, looked_up, planned, sourced
from simulators.messages.tool_intents import OfferedTools, find_intent, is_roots, roots_in
from simulators.messages.tool_reply import ToolOutcome, as_sentence, outcomes
from simulators.messages.turns import Part, Text, Think, Turn, turn
from simulators.messages.validate import ModelRequest

INTRODUCTION = (
    "Hello! I am the sandbox's small script, **not a language model**: I know a few plain requests "
    "and nothing else."
)
_STORY = re.compile(
    r"\b(?:tell|write|give)\b.*\bstory\b|\blong (?:text|answer|story)\b", re.IGNORECASE
)
_THINK = re.compile(
    r"\bthink (?:hard |carefully )?(?:about|of|over)\s+(.+)", re.IGNORECASE | re.DOTALL
)
_HELLO = re.compile(
    r"^\W*(?:hi|hello|hey|good (?:morning|day|evening)|/?start|/?help|what can you do|who are you|"
    r"what are you)\b",
    re.IGNORECASE,
)
_STAMP = re.compile(
    r"^\W*(?:message |this |it )?(?:was )?(?:sent|written|received|local time|time)\b"
    r".{0,100}\d\d?:\d\d.{0,40}$",
    re.IGNORECASE,
)
_HEAD = re.compile(r"^\s*\[sent [^\[\]\n]*\d\d?:\d\d[^\[\]\n]*\][ \t]*(?:\[[^\[\]\n]*\][ \t]*)*\n?")
_MARK = re.compile(r"\[([0-9a-f]{8}) marks [^\[\]\n]*\]")
_NAMED = re.compile(r"\b(?:You are|Your name is)\s+(?:an? |the )?([^\s.,;:\n][^.,;:\n]{0,59})")
_MOST_TOOLS = 20


class DemoScript:
    """Answers what it can by rules and by the agent's own tools, and says so when it cannot."""

    def answer(self, request: ModelRequest) -> Turn:
        """The turn for a request; the first of a conversation says what is speaking."""
        found = _answer(request)
        if any(message.role == "assistant" for message in request.messages):
            return found
        thoughts = [part for part in found.parts if isinstance(part, Think)]
        rest = [part for part in found.parts if not isinstance(part, Think)]
        return Turn((*thoughts, *_introduced(rest)))


def _introduced(parts: Sequence[Part]) -> list[Part]:
    if parts and isinstance(parts[0], Text):
        return [Text(f"{INTRODUCTION}\n\n{parts[0].text}"), *parts[1:]]
    return [Text(INTRODUCTION), *parts]


def _answer(request: ModelRequest) -> Turn:
    made = outcomes(request)
    if made and not is_roots(made[-1].name):
        told = [one for one in made if not is_roots(one.name)]
        names = dict.fromkeys(one.name for one in told)
        return turn(sourced("\n\n".join(map(as_sentence, told)), request, *names))
    if made and made[-1].failed:
        return turn(as_sentence(made[-1]))
    texts = _wishes(heard(request))
    for text in reversed(texts):
        found = _known(text, request, made)
        if found is not None:
            return found
    return turn(_unknown(texts[-1] if texts else "", request))


def _wishes(given: Sequence[str]) -> list[str]:
    """What the person wrote, without a host's line on it and what others wrote."""
    bare = [_own_words(text) for text in given]
    return [text for text in bare if text.strip() and not _STAMP.match(text)]


def _own_words(text: str) -> str:
    if (head := _HEAD.match(text)) is None:
        return text
    rest, mark = text[head.end() :], _MARK.search(head[0])
    if mark is None:
        return rest
    excerpt = rf"\[{mark[1]} [^\n]*:\]\n.*?\[{mark[1]} ends\]\n?"
    return re.sub(excerpt, "", rest, flags=re.DOTALL)


def _known(text: str, request: ModelRequest, made: list[ToolOutcome]) -> Turn | None:
    if _STORY.search(text):
        return turn(STORY)
    thought = _THINK.search(text)
    if thought:
        return _thought(thought[1].strip(), request)
    roots = [root for called in made for root in roots_in(called.result)]
    todo = find_intent(text, OfferedTools(request.tools, roots))
    if todo is not None:
        return turn(*todo.calls) if todo.calls else turn(f"{todo.missing} {_tools(request)}")
    subject = looked_up(text, request)
    if subject is not None:
        return turn(subject) if isinstance(subject, str) else turn(*subject.calls)
    plan = planned(text, request)
    if plan is not None:
        return turn(plan)
    sum_ = worked_out(text)
    if sum_ is not None:
        return turn(f"**{sum_}**")
    return turn(_abilities(request)) if _HELLO.search(text) else None


def _thought(subject: str, request: ModelRequest) -> Turn:
    words = len(subject.split())
    answer = (
        f"I was asked to think about “{subject[:200]}”. I count {words} "
        f"{'word' if words == 1 else 'words'} and {len(subject)} characters; that is as deep as a "
        "script thinks."
    )
    if not request.thinking.on:
        return turn(f"{answer}\n\nThinking is turned off for this request, so I did not show any.")
    steps = (
        f"The subject is “{subject[:200]}”. First I take it apart: {words} words. "
        "Then I look for something that I know about it. I am a script, so there is nothing. "
        "I will say exactly that."
    )
    return turn(Think(steps), answer)


def _abilities(request: ModelRequest) -> str:
    lines = [
        "- a sum: `12 * (3 + 4)`",
        "- `tell me a long story`: a long answer with headings, lists, code and a table",
        "- `think about rivers`: an answer with thinking before it",
        "- `what time is it in Tokyo?` and `convert 14:00 from Berlin to Tokyo`, with a time tool",
        "- `list my files`, `read notes.md`, `write hello to notes.md`, with file tools",
        "- `delete notes.md`, with a tool that deletes",
        "- `search my notes for milk`, with a tool that searches",
        "- `book a table for two`, and `tell me about tides`: see what a profile makes of it",
        "- `use <tool> {…}`: any tool of this agent, with the input you give",
    ]
    return "\n".join([f"{_who(request)} What I understand:", "", *lines, "", _tools(request)])


def _unknown(text: str, request: ModelRequest) -> str:
    if not text:
        return f"There were no words in that message.\n\n{_abilities(request)}"
    quoted = " ".join(text.split())
    shown = f"{quoted[:200]}…" if len(quoted) > 200 else quoted
    return f"You wrote: “{shown}”. My script has no answer to that.\n\n{_abilities(request)}"


def _who(request: ModelRequest) -> str:
    every = [*_NAMED.finditer(request.system_text)]  # a profile may say first what it is
    named = next((one for one in every if one[1][:1].isupper()), every[0] if every else None)
    agent = f"the agent “{named[1].strip()}”" if named else "an agent without a name"
    return f"I was asked as {agent}, on the model `{request.model.id}`."


def _tools(request: ModelRequest) -> str:
    names = [f"`{tool['name']}`" for tool in request.tools]
    if not names:
        return "This agent has no tools."
    more = f" and {len(names) - _MOST_TOOLS} more" if len(names) > _MOST_TOOLS else ""
    return f"This agent's tools: {', '.join(names[:_MOST_TOOLS])}{more}."


STORY = Path(__file__).with_name("story.md").read_text(encoding="utf-8")
