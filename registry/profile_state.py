"""The state of a turn that a profile may read: each path, what it holds, and where it may stand."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from registry.fields import nearest

PARAMS = "state.params"
"""What a turn began with, and what rules have set."""
SETTABLE = PARAMS + "."
"""Before the only paths that a rule may set."""
TEXT_LIMIT = 4_096
"""Characters of a text in the state."""
LIST_LIMIT = 100
"""Entries of a list or an object in the state."""


@dataclass(frozen=True, slots=True)
class StatePath:
    """A path of the state: the kind of its value and what that is.

    `frozen`: it is the same through the turn, so that the system prompt may have it. `open`: paths
    below it are not known before a turn.
    """

    kind: str
    about: str
    frozen: bool = False
    open: bool = False


PATHS: Mapping[str, StatePath] = {
    "state.current_action": StatePath(
        "object", "the first tool that the newest answer calls; none where it calls none"
    ),
    "state.current_action.name": StatePath("text", "its own name, such as `write_file`"),
    "state.current_action.tool": StatePath("text", "its full name: `mcp:notes:write_file`"),
    "state.current_action.arguments": StatePath("object", "what it is called with", open=True),
    "state.actions": StatePath("list", "the own names of all tools that the newest answer calls"),
    "state.agent_start_utc_timestamp": StatePath(
        "text", "when this turn began, in ISO 8601 and UTC: `2027-02-28T12:00:00+00:00`", True
    ),
    "state.turn_number": StatePath("number", "which turn of the conversation this is, from 1"),
    "state.step": StatePath("number", "how many answers the model has given in this turn"),
    "state.answer": StatePath("text", "the text of the newest answer of this turn"),
    "state.tools_used": StatePath("list", "the own names of the tools that ran in this turn"),
    "state.last_error": StatePath(
        "text", 'what the newest tool that failed in this turn said: of `{"error": …}` its text'
    ),
    PARAMS: StatePath(
        "object",
        "the `metadata` of a task over HTTP, or the system messages of a request to `/v1` as "
        "`instructions_of_the_client`; and what rules have set",
        True,
        True,
    ),
    "state.tasks": StatePath(
        "object",
        "by a tool's own name, how its calls in this turn ended: `status` is done or error, `runs` "
        "counts them",
        open=True,
    ),
    "inbox.count": StatePath("number", "how many items wait to be read"),
    "inbox.sources": StatePath("list", "the sources of the items that wait"),
    "message.text": StatePath("text", "what the person wrote"),
    "person.id": StatePath("text", "who asks: `tg:<id>` or `api:<account>:<user>`", True),
    "person.name": StatePath("text", "their name, as they chose it", True),
    "person.role": StatePath("text", "admin or everyone", True),
    "chat.kind": StatePath("text", "private, group or http", True),
    "agent.id": StatePath("text", "the id of the agent that answers", True),
    "agent.name": StatePath("text", "its name", True),
    "agent.type": StatePath("text", "the `type` of its profile", True),
    "agent.model": StatePath("text", "the model that it asks first", True),
    "agent.instructions": StatePath("text", "its own `customInstructions`", True),
    "account.id": StatePath("text", "the account for which it works", True),
}
"""Everything that `v['…']` and `{{ … }}` can read."""

TEMPLATE = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
"""A place in a text where a value of the state stands."""
INSTRUCTIONS = "agent.instructions"


def known(path: str) -> StatePath | None:
    """What is at a path, or at the open one above it; None where nothing ever is."""
    if (found := PATHS.get(path)) is not None:
        return found
    while "." in path:
        path = path.rpartition(".")[0]
        if (found := PATHS.get(path)) is not None:
            return found if found.open else None
    return None


def near(path: str, *, frozen: bool = False) -> str:
    """How to correct a path that nothing is at; `frozen`: where only such may stand."""
    may = {name: one for name, one in PATHS.items() if one.frozen or not frozen}
    if like := nearest(path, may, 0.6):
        return f"did you mean {like}?"
    few = difflib.get_close_matches(path, may, _FEW, 0.0)
    return f"the nearest are {', '.join(few)}; docs/profiles.md lists them all"


_FEW = 3


def paths_in(text: str) -> Iterator[str]:
    """The paths whose values a text has in it, as `{{ path }}`."""
    return (found[1] for found in TEMPLATE.finditer(text))


def odd_place(text: str) -> str | None:
    """The first `{{` of a text that begins no place for a value, with what follows; or None."""
    rest = TEMPLATE.sub("", text)
    at = rest.find("{{")
    if at < 0:
        return None
    line = rest[at : at + _SHOWN].partition("\n")[0]
    inside, end, _ = line.partition("}}")
    return inside + end


_SHOWN = 40
