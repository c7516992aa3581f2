"""The state of a turn as the rules and the prompt of a profile read it: made from its records.

So it is the same after a crash. What `registry.profile_state` lists is here, and nothing else. Each
value is bounded, and has no secrets in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from bot.agents.resolver import TILDE, RunnableAgent
from bot.messages import Block, IncomingMessage, Json, is_whole, text_of
from bot.profiles.inbox import WITHDRAWN
from bot.safety.text_safety import Redact, printable, redact_values
from bot.store.journal import Record
from bot.tools.calls import HOST, SKILL
from bot.tools.policy import name_of
from registry.profile import SELF
from registry.profile_state import LIST_LIMIT, PARAMS, SETTABLE, TEXT_LIMIT

MOST_PARTS = 1_000
"""Values of one object in the state, at any depth."""
MOST_CHARACTERS = 16_000
"""Characters of all texts of one object in the state."""
DEEPEST = 8
_NAME = 200
_LARGEST = 2**63
GIVEN = "given"
"""Where the person's record has what rules read of the message: its `text` and the `params`."""


class _Bounds:
    """What is left of the bounds of one value."""

    def __init__(self) -> None:
        self.parts, self.characters = MOST_PARTS, MOST_CHARACTERS

    def cut(self, value: Any, depth: int = 0) -> Any:
        """The value, without what is beyond the bounds."""
        self.parts -= 1
        if self.parts < 0 or depth > DEEPEST:
            return None
        if isinstance(value, str):
            shown = value[: max(0, min(TEXT_LIMIT, self.characters))]
            self.characters -= len(shown)
            return shown
        if isinstance(value, Mapping):
            several = list(value.items())[:LIST_LIMIT]
            return {str(name)[:_NAME]: self.cut(one, depth + 1) for name, one in several}
        if isinstance(value, Sequence):
            return [self.cut(one, depth + 1) for one in value[:LIST_LIMIT]]
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            return None
        return value if value is None or isinstance(value, bool | int | float) else None


def bounded(value: Any) -> Any:
    """A JSON value as the state has it: texts, lists and objects are cut."""
    return _Bounds().cut(value)


def given_in(incoming: IncomingMessage, text: str, redact: Redact) -> Json:
    """What the person's record keeps of a message, for rules that look at it later."""
    params = incoming.context.metadata if incoming.context else {}
    plain = printable(redact(text[: 4 * TEXT_LIMIT]))[:TEXT_LIMIT]
    if not params:
        return {"text": plain}
    return {"text": plain, "params": bounded(redact_values(bounded(params), redact))}


def fixed_values(
    agent: RunnableAgent,
    turn: str,
    role: str,
    person: tuple[int | str, str],
    chat: str,
) -> dict[str, Any]:
    """What stays the same through a turn, by its path; `person` is their id and their name."""
    effective, (id, name) = agent.effective, person
    profile, millis = effective.profile, turn.partition("-")[0]
    began = int(millis) // 1000 if millis.isdecimal() else 0  # an entry's id is its time
    redact = agent.filter.secrets.redact
    return {
        "state.agent_start_utc_timestamp": datetime.fromtimestamp(began, UTC).isoformat(),
        "person.id": f"tg:{id}" if isinstance(id, int) else id,
        "person.name": " ".join(printable(redact(name), _NAME).split()),
        "person.role": role,
        "chat.kind": chat,
        "agent.id": agent.id,
        "agent.name": agent.name,
        "agent.type": profile.type if profile else None,
        "agent.model": agent.model,
        "agent.instructions": redact(effective.instructions[:TEXT_LIMIT]) or None,
        "account.id": agent.attribution.account,
    }


_UNREAD = object()


@dataclass(slots=True, repr=False)
class TurnState:
    """The state at one moment of a turn; `read` gives the value at a path, None where none is.

    `fixed` are values by path that stay the same, `names` what the model's names of tools mean.
    `number` is which turn of the conversation this is, `unread` what waits in the inbox, by id; at
    first what earlier turns have left there. `spent` are rules that may add nothing now, `newest`
    is the newest answer. `started` are the keys of tools by call, `params` what rules may set.
    `known` are values that were read since something changed, by path: another object then.
    """

    fixed: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    number: int = 1
    unread: dict[str, Json] = field(default_factory=dict)
    step: int = 0
    spent: set[str] = field(default_factory=set)
    newest: Json = field(default_factory=dict)
    text: str = ""
    error: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    def follow(self, records: Iterable[Record]) -> TurnState:
        """The same state, after these records of the turn."""
        for record in records:
            if (take := _FOLLOWED.get(record.kind)) is not None:
                take(self, record.body)
        self.known = {}
        return self

    def read(self, path: str) -> Any:
        """The value at a path."""
        found = self.known.get(path, _UNREAD)
        if found is _UNREAD:
            found = self.known[path] = finder(path)(self)
        return found

    def add(self, item: Json) -> None:
        """Something is to be read; where it has another agent as target, not here."""
        self.spent.add(item["by"])
        if "to" not in item and item["id"] not in self._read:
            self.unread[item["id"]] = item
        self.known = {}

    def has_read(self, ids: Iterable[str]) -> None:
        """These items stood in a request that was answered."""
        self._read.update(ids)
        self.unread = {id: item for id, item in self.unread.items() if id not in self._read}

    def set(self, path: str, value: Any) -> bool:
        """Set a value below `state.params`; False where it is there already."""
        found = self.read(path)
        if found == value and type(found) is type(value):
            return False
        *above, name = path.removeprefix(SETTABLE).split(".")
        place = self.params
        for one in above:
            inner = place.get(one)
            place[one] = inner = dict(inner) if isinstance(inner, Mapping) else {}
            place = inner
        place[name] = value
        self.known = {}
        return True

    def is_self(self, target: str) -> bool:
        """Whether the agent that answers is meant: by `self`, or by its id, as a draft too."""
        own: str = self.fixed.get("agent.id", "")
        return target == SELF or target in (own, own.partition(TILDE)[0])

    @property
    def calls(self) -> list[Block]:
        """The calls of the newest answer."""
        return [one for one in self.newest.get("content", ()) if one["type"] == "tool_use"]

    @property
    def is_settled(self) -> bool:
        """Whether the newest answer calls no tool, and is whole."""
        return bool(self.newest) and is_whole(self.newest["content"], self.newest["stop"])

    def own_name(self, wire: str) -> str:
        """The own name of a tool; of one that the model made up, what it reads like."""
        return self.names[wire][1] if wire in self.names else wire.rpartition("__")[2]


# --- what records say -----------------------------------------------------------------------------


def _on_person(state: TurnState, body: Json) -> None:
    given = body.get(GIVEN) or {}
    state.text, state.params = given.get("text", ""), dict(given.get("params") or {})


def _on_model(state: TurnState, body: Json) -> None:
    if "read" in body:
        state.has_read(body["read"])
    if not body.get("partial"):
        state.step, state.newest = state.step + 1, body


def _on_started(state: TurnState, body: Json) -> None:
    state.spent.clear()
    state.started[body["call"]] = body["key"]


def _on_result(state: TurnState, body: Json) -> None:
    state.spent.clear()
    if body["error"]:
        state.error = error_in(body["content"])
    if (key := state.started.get(body["call"])) is not None:
        task = state.tasks.setdefault(name_of(key), {"status": "", "runs": 0})
        task |= {"status": "error" if body["error"] else "done", "runs": task["runs"] + 1}


def _on_rules(state: TurnState, body: Json) -> None:
    for item in body.get("added", ()):
        state.add(item)
    if "read" in body or WITHDRAWN in body:
        state.has_read([*body.get("read", ()), *body.get(WITHDRAWN, ())])
    for path, value in body.get("set", {}).items():
        state.set(path, value)


_FOLLOWED: Mapping[str, Callable[[TurnState, Json], None]] = {
    "person": _on_person,
    "model": _on_model,
    "started": _on_started,
    "result": _on_result,
    "rules": _on_rules,
}


def error_in(content: Any) -> str:
    """What a tool that failed said: of `{"error": …}` what is in it."""
    if isinstance(content, str):
        text = content
    else:
        texts = (str(part.get("text", "")) for part in content if part.get("type") == "text")
        text = "\n".join(texts)
    if text.startswith("{"):
        with suppress(ValueError):
            said = orjson.loads(text)
            if isinstance(inner := said.get("error"), str) and inner.strip():
                text = inner
    return text[:TEXT_LIMIT]


# --- what is made of them -------------------------------------------------------------------------


def _action(state: TurnState) -> Json | None:
    """The first tool that the newest answer calls."""
    if not (calls := state.calls):
        return None
    first, name = calls[0], state.own_name(calls[0]["name"])
    key = state.started.get(first["id"])
    if key is None and first["name"] in state.names:
        server = state.names[first["name"]][0]
        key = {SKILL: f"skill:{name}", HOST: f"host:{name}"}.get(server, f"mcp:{server}:{name}")
    return {"name": name, "tool": key or first["name"], "arguments": bounded(first["input"])}


def _walked(value: Any, names: Iterable[str]) -> Any:
    for name in names:
        if not isinstance(value, dict):  # what is in a state is plain JSON
            return None
        value = value.get(name)
    return value


Find = Callable[[TurnState], Any]
_MADE: Mapping[str, Find] = {
    "state.current_action": _action,
    "state.actions": lambda one: [one.own_name(call["name"]) for call in one.calls[:LIST_LIMIT]],
    "state.turn_number": lambda one: one.number,
    "state.step": lambda one: one.step,
    "state.answer": lambda one: text_of(one.newest.get("content", ()))[:TEXT_LIMIT] or None,
    "state.tools_used": lambda one: [*dict.fromkeys(map(name_of, one.started.values()))],
    "state.last_error": lambda one: one.error,
    PARAMS: lambda one: one.params,
    "state.tasks": lambda one: one.tasks,
    "inbox.count": lambda one: len(one.unread),
    "inbox.sources": lambda one: [item["source"] for item in one.unread.values()],
    "message.text": lambda one: one.text or None,
}
"""What changes through a turn, by its path."""
_OPEN = (PARAMS, "state.tasks", "state.current_action")
"""The paths of objects, into which other paths lead."""


@lru_cache(maxsize=4096)
def finder(path: str) -> Find:
    """What finds the value at a path in a state, None where there is none: made once for each."""
    if (made := _MADE.get(path)) is not None:
        return made
    for place in _OPEN:
        if path.startswith(f"{place}."):
            names = tuple(path[len(place) + 1 :].split("."))
            return lambda state: _walked(state.read(place), names)
    return lambda state: state.fixed.get(path)
