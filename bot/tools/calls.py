"""Values of a call: what the model asks for, what is decided of it, and what it comes to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bot.ports import UNFIT, Rest
from bot.tools.rests import HOST

SKILL = ""
"""Stands for the server where a tool is a skill; no server has an empty name."""

UNKNOWN_TOOL = "There is no tool of this name."
NOT_OBJECT = "The call's input is not a JSON object. Write it again as one."
NOT_PLAIN = (
    "The call's input is not plain JSON: {}. It was not run. Write it again: a long number as a "
    "text in quotes, a long text or list in parts."
)
NOT_ALLOWED = "This tool is not available to you. It was not run; go on without it."
NO_LONGER = "This tool is no longer here as it was when this turn began. It was not run."
NAME_TAKEN = "A server's tool has the name of this skill, so the skill was not run."
NO_ANSWER = "No answer came in time. Go on without it, or try again later."
AGENT_GONE = "This agent was removed while it worked. The call was not run."
FATE_UNKNOWN = (
    "Outcome unknown: the host was interrupted during this call, so it may or may not have taken "
    "effect. It was not repeated. Tell the person, and check by other means if you can."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool_use of the model: `tool` is what its wire name means, if anything.

    `unfit` says why its arguments cannot be passed on as they were written, where that is so.
    """

    id: str
    name: str
    server: str | None
    tool: str | None
    arguments: Any
    unfit: str = ""

    @property
    def origin(self) -> str:
        """The server's name, empty where the tool is a skill or the host's own."""
        return "" if self.server in (SKILL, HOST, None) else str(self.server)

    @property
    def key(self) -> str:
        """`mcp:<server>:<tool>`, `skill:<name>` or `host:<name>`: policy knows it by this."""
        if self.server == HOST:
            return f"host:{self.tool}"
        return f"skill:{self.tool}" if self.server == SKILL else f"mcp:{self.server}:{self.tool}"

    @property
    def digest(self) -> str:
        """A name for this tool with these arguments."""
        body = orjson.dumps([self.key, self.arguments], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to, as a tool_result's content; `rest` is what was cut off it."""

    content: Any
    error: bool = False
    fate_unknown: bool = False
    rest: Rest | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a call now: refused with a result, asked of a person, or run.

    `definition` is the digest of what the tool is; `always` says whether a person may allow it for
    good.
    """

    refusal: Result | None = None
    asks: bool = False
    always: bool = False
    definition: str = ""


def call_of(block: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Call:
    """A tool_use block, read with the wire names of its render."""
    server, tool = names.get(block["name"], (None, None))
    unfit = str(block.get(UNFIT) or "")
    return Call(block["id"], block["name"], server, tool, block["input"], unfit)
