"""Agents, bindings and servers from environment variables, in the forms of the spec.

`AGENTS__0__ID`, `BINDINGS__0__AGENTID`, `BOTS__0__AGENTID` (a binding in short), `DEFAULTAGENTID`,
`MCPSERVERS__<name>__COMMAND`; and single-agent mode: `NAME`, `MCPSERVERS__<n>__ENDPOINT`,
`WHITELISTPATTERNS__<n>`. Empty variables count as not set.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.binding import token_hash
from registry.errors import Problem
from registry.fields import Path, casefolded, nearest_place, slug
from registry.validation import RawDocument, RawValue, normalized

DOCUMENT = "environment"
_ROOTS = ("agents", "bindings", "bots", "mcpservers")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d+)?\Z")
_NUMBERS = {"maxtokens", "temperature"}
_SWITCHES = {"trustannotations", "linkpreviews"}


def read_environment(
    environ: Mapping[str, str], bots: Mapping[int, str] | None = None
) -> RawDocument:
    """The raw document of an environment; `bots` are token hashes by the n in `BOTS__<n>__`."""
    tree = _Tree(environ)
    agents = tree.entries("agents")
    short_forms = list(_short_forms(tree, bots or {}))
    default = (one for one in environ if casefolded(one) == "defaultagentid" and environ[one])
    unnumbered = [
        Problem(f"{root}__{step}", "its entries must be numbered", f"write {root}__0__…")
        for root in ("AGENTS", "BINDINGS")
        for step in tree.names(root.lower())
    ]
    nameless = [part.place for part in agents if not isinstance(_named(part.value, "id"), str)]
    without_id = [Problem(place, "this agent has no id", f"set {place}__ID") for place in nameless]
    raw = RawDocument(
        agents=[part for part in agents if isinstance(_named(part.value, "id"), str)],
        bindings=[*tree.entries("bindings"), *short_forms],
        default=next((RawValue.of_place(environ[one], one, DOCUMENT) for one in default), None),
        servers={name: tree.part("mcpservers", name) for name in tree.names("mcpservers")},
        problems=(*tree.problems, *unnumbered, *without_id),
    )
    return normalized(raw)


@dataclass(slots=True)
class _Node:
    """What the variables say below one step: a value, or further steps."""

    place: str
    value: str = ""
    steps: dict[str, _Node] = field(default_factory=dict)

    def json(self, name: str, path: Path, places: dict[Path, str]) -> Any:
        """The node as JSON: steps of digits are list indexes, all others are names."""
        places[path] = self.place
        if not self.steps:
            return _scalar(self.value, name)
        if all(step.isdigit() for step in self.steps):
            numbered = enumerate(sorted(self.steps, key=int))
            return [self.steps[step].json("", (*path, n), places) for n, step in numbered]
        return {
            step: node.json(step, (*path, casefolded(step)), places)
            for step, node in self.steps.items()
        }


class _Tree:
    """The variables below each root."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._top = _Node("", steps={root: _Node(root) for root in _ROOTS})
        for variable in sorted(environ):
            steps = variable.split("__")
            if steps[0].lower() in _ROOTS and len(steps) > 1 and environ[variable]:
                self._put(variable, steps, environ[variable])

    def entries(self, root: str) -> list[RawValue]:
        """The numbered entries below a root, in the order of their numbers."""
        numbered = [step for step in self._top.steps[root].steps if step.isdigit()]
        return [self.part(root, step) for step in sorted(numbered, key=int)]

    def names(self, root: str) -> list[str]:
        """The steps below a root that are not numbers."""
        return [step for step in self._top.steps[root].steps if not step.isdigit()]

    def part(self, root: str, step: str) -> RawValue:
        """The value below `<ROOT>__<step>`, as JSON."""
        places: dict[Path, str] = {}
        value = self._top.steps[root].steps[step].json(step, (), places)
        return RawValue(value, lambda path: nearest_place(path, places), DOCUMENT)

    def _put(self, variable: str, steps: list[str], value: str) -> None:
        node, before = self._top, ""
        for depth, step in enumerate(steps, 1):
            # The root and the names of servers: variables are often in capitals.
            own = step.lower() if before in ("", "mcpservers") else step
            node = node.steps.setdefault(own, _Node("__".join(steps[:depth])))
            before = casefolded(step)
            if node.value and depth < len(steps):
                break
        else:
            if not node.steps:
                node.place, node.value = variable, value
                return
        message = "it has a value, but other variables begin with its name"
        self.problems.append(Problem(variable, message, "remove one of them"))


def _scalar(text: str, name: str) -> Any:
    if casefolded(name) in _SWITCHES:
        return {"true": True, "false": False}.get(text.lower(), text)
    if casefolded(name) in _NUMBERS and (match := _NUMBER.match(text)):
        return float(text) if match[1] else int(text)
    return text


def _short_forms(tree: _Tree, bots: Mapping[int, str]) -> Iterator[RawValue]:
    """The bindings that `BOTS__<n>__AGENTID` stand for; a bot without a token is a problem."""
    for part in tree.entries("bots"):
        agent = _named(part.value, "agentid")
        if agent is None:
            continue
        place = part.at(("agentid",))
        number, token = place.split("__")[1], _named(part.value, "token")
        key = bots.get(int(number)) or (token_hash(str(token).strip()) if token else None)
        if key is None:
            cure = f"set BOTS__{number}__TOKEN or BOTS__{number}__TOKEN_FILE"
            tree.problems.append(Problem(place, "this bot has no token", cure))
            continue
        binding = {"agentId": agent, "type": "TelegramBot", "bindingKey": key}
        yield RawValue.of_place(binding, place, DOCUMENT)


def _named(value: Any, name: str) -> Any:
    """The value under a name in any spelling, or None."""
    items = value.items() if isinstance(value, Mapping) else ()
    return next((item for key, item in items if casefolded(key) == name), None)


# --- single-agent mode ---------------------------------------------------------------------------


def read_legacy(environ: Mapping[str, str], has_bot: bool) -> RawDocument | None:
    """The raw document of the one agent, which is the default; None without a name or a bot."""
    name = environ.get("NAME", "").strip()
    if not name or not has_bot:
        return None
    agent_id = slug(name) or f"agent-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    variables = {
        "mcpServerEndpoints": _numbered(environ, "MCPSERVERS__", "__ENDPOINT"),
        "whitelistPatterns": _numbered(environ, "WHITELISTPATTERNS__", ""),
    }
    values = {field: [environ[one] for one in names] for field, names in variables.items() if names}

    def at(path: Path) -> str:
        is_item = len(path) > 1 and isinstance(path[1], int)
        return variables[str(path[0])][path[1]] if is_item else "NAME"  # type: ignore[index]

    message = f"no agents are configured, so single-agent mode made the agent '{agent_id}'"
    cure = "describe it in agents.json, or as AGENTS__0__ID, to tune it further"
    note = Problem("NAME", message, cure, level="note")
    agent = RawValue({"id": agent_id, "name": name, **values}, at, DOCUMENT)
    return RawDocument([agent], default=RawValue(agent_id, at, DOCUMENT), problems=(note,))


def _numbered(environ: Mapping[str, str], head: str, tail: str) -> list[str]:
    """The variables `<head><n><tail>` that are set, in the order of their numbers."""
    found: dict[int, str] = {}
    for variable, value in environ.items():
        upper = variable.upper()
        number = upper.removeprefix(head).removesuffix(tail)
        if upper == f"{head}{number}{tail}" and number.isdigit() and value:
            found[int(number)] = variable
    return [found[number] for number in sorted(found)]
