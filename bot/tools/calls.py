"""Values of a tool call: what the model asks for, the tool it means, the decision, the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bot.mcp.server_spec import ServerSpec
from bot.messages import INVALID_INPUT
from bot.skills.spec import SkillSpec
from bot.store.journal import Record
from registry.skill import CacheRule

SKILL = ""
"""In place of a server's name where the tool is a skill; no server has an empty name."""
HOST = ":"
"""In place of a server's name where the tool is the host's own; no server's name has a colon."""

UNKNOWN_TOOL = "There is no tool of this name."
NOT_OBJECT = "The call's input is not a JSON object. Write it again as one."
NOT_PLAIN = (
    "The call's input is not plain JSON: {}. It was not run. Write it again: a long number as a "
    "text in quotes, a long text or list in parts."
)
NOT_ALLOWED = "This tool is not available to you. It was not run; go on without it."
NO_LONGER = "This tool is no longer the one that it was when this turn began. It was not run."
NAME_TAKEN = "A server's tool has the same name as this skill, so the skill was not run."
NO_ANSWER = "No answer came in time. Go on without it, or try again later."
AGENT_GONE = "This agent was removed while it worked. The call was not run."
FATE_UNKNOWN = (
    "Outcome unknown: the host was interrupted during this call, so it may or may not have taken "
    "effect. It was not repeated. Tell the person, and check by other means if you can."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool_use block of the model: `server` and `tool` are what its wire name means, if any.

    `invalid` says why its arguments cannot be passed on as they were written, where that is so.
    `approved` is the definition of the tool that a person allowed: no other may run in its place.
    """

    id: str
    name: str
    server: str | None
    tool: str | None
    arguments: Any
    invalid: str = ""
    approved: str = ""

    @property
    def origin(self) -> str:
        """The server's name, empty where the tool is a skill or the host's own."""
        return "" if self.server in (SKILL, HOST, None) else str(self.server)

    @property
    def key(self) -> str:
        """`mcp:<server>:<tool>`, `skill:<name>` or `host:<name>`, as the policy names it."""
        if self.server == HOST:
            return f"host:{self.tool}"
        return f"skill:{self.tool}" if self.server == SKILL else f"mcp:{self.server}:{self.tool}"

    @property
    def digest(self) -> str:
        """A digest of this tool with these arguments."""
        body = orjson.dumps([self.key, self.arguments], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()[:24]


def read_call(block: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Call:
    """A tool_use block as a call; `names` are the wire names of the prompt that it answers."""
    server, tool = names.get(block["name"], (None, None))
    invalid = str(block.get(INVALID_INPUT) or "")
    return Call(block["id"], block["name"], server, tool, block["input"], invalid)


@dataclass(frozen=True, slots=True)
class FoundTool:
    """The tool that a call means, as it is now; `source` is the server or the skill it belongs to.

    `definition` is a digest of what it is and where it runs, empty while it is not offered.
    `repeatable`: an admin said that it may run twice. Its results may be used again by `cache`,
    within `identity`. `refusal` says why it may not be called at all, where that is so.
    """

    source: ServerSpec | SkillSpec | None
    definition: str
    repeatable: bool = False
    cache: CacheRule | None = None
    identity: tuple[str, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Remainder:
    """What was cut off a tool's result, and the key of that tool.

    `whole` is False where not even this text was kept to its end.
    """

    key: str
    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a call; `content` as a tool_result block takes it.

    `rest` is what was cut off the content, `read_from` the key of the tool whose earlier result it
    is a piece of.
    """

    content: Any
    error: bool = False
    fate_unknown: bool = False
    rest: Remainder | None = None
    read_from: str = ""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What happens to a call now: it is refused with a result, needs approval, or runs.

    `definition` is that of the tool. `always` says whether a person may allow it for good,
    `approved` that a person allowed this call.
    """

    refusal: Result | None = None
    needs_approval: bool = False
    always: bool = False
    approved: bool = False
    definition: str = ""


def refused(words: str) -> PolicyResult:
    """A call that does not run, with the reason as its result."""
    return PolicyResult(Result(words, error=True))


def result_record(entry: str, call: str, result: Result) -> Record:
    """The record of the result of a turn's call."""
    body = {"turn": entry, "call": call, "content": result.content, "error": result.error}
    return Record("result", body | {"unknown": True} if result.fate_unknown else body)
