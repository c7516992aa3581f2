"""Tool results as sentences, which say nothing that the tool did not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from simulators.messages.cities import ZONES
from simulators.messages.conversation import Message
from simulators.messages.reminders import is_reminder
from simulators.messages.shape import Obj
from simulators.messages.validate import ModelRequest

LONGEST = 3000


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """A call made for the person's last message, and its result."""

    name: str
    input: Obj
    result: str
    failed: bool


def outcomes(request: ModelRequest) -> list[ToolOutcome]:
    """The calls since the person last wrote, in their order."""
    made: list[ToolOutcome] = []
    calls: dict[str, Obj] = {}
    for message in request.messages:
        calls |= {placed.block["id"]: placed.block for placed in message.of("tool_use")}
        made += _answered(message, calls)
        said = [placed.block["text"] for placed in message.of("text")]
        if message.role == "user" and not all(map(is_reminder, said)):
            made = []
    return made


def _answered(message: Message, calls: dict[str, Obj]) -> list[ToolOutcome]:
    found = []
    for placed in message.of("tool_result"):
        call = calls[placed.block["tool_use_id"]]
        failed = bool(placed.block.get("is_error"))
        found.append(ToolOutcome(call["name"], call["input"], _text(placed.block), failed))
    return found


def _text(block: Obj) -> str:
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def as_sentence(called: ToolOutcome) -> str:
    """One result as a sentence or a quotation."""
    if called.failed:
        return f"`{called.name}` gave no result. It said: {called.result.strip() or 'nothing'}"
    found = _json(called.result)
    if isinstance(found, dict):
        sentence = _time(found) or _conversion(found)
        if sentence:
            return sentence
    words = called.result.strip()
    if not words:
        return f"`{called.name}` is done; it said nothing."
    if len(words) > LONGEST:
        words = f"{words[:LONGEST]}\n… ({len(called.result)} characters in all)"
    fence = "````" if "```" in words else "```"
    return f"`{called.name}` says:\n\n{fence}\n{words}\n{fence}"


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _time(found: Obj) -> str | None:
    zone, moment = found.get("timezone"), found.get("datetime")
    if not isinstance(zone, str) or not isinstance(moment, str) or "T" not in moment:
        return None
    day = found.get("day_of_week")
    of_day = f" on {day}" if isinstance(day, str) else ""
    return f"In {_place(zone)} it is **{_clock(moment)}**{of_day}, {moment[:10]}."


def _conversion(found: Obj) -> str | None:
    source, target = found.get("source"), found.get("target")
    if not isinstance(source, dict) or not isinstance(target, dict):
        return None
    here, there = _time_at(source), _time_at(target)
    if here is None or there is None:
        return None
    difference = found.get("time_difference")
    return f"{here} is **{there}**" + (f" ({difference})." if difference else ".")


def _time_at(found: Obj) -> str | None:
    zone, moment = found.get("timezone"), found.get("datetime")
    if not isinstance(zone, str) or not isinstance(moment, str):
        return None
    return f"{_clock(moment)} in {_place(zone)}"


def _clock(moment: str) -> str:
    return moment.partition("T")[2][:5]


def _place(zone: str) -> str:
    names = [name for name, known in ZONES.items() if known == zone]
    ending = zone.rpartition("/")[2].replace("_", " ")
    return ending if ending.lower() in names or not names else names[0].title()
