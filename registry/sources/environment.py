"""Agents, bindings and servers from environment variables, in the forms of the spec.

`AGENTS__0__ID`, `BINDINGS__0__AGENTID`, `BOTS__0__AGENTID` (a binding in short), `DEFAULTAGENTID`,
`MCPSERVERS__<name>__COMMAND`. Empty variables count as not set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from registry.binding import AgentBinding, token_hash
from registry.definition import AgentDefinition
from registry.errors import Problem
from registry.json_text import Path, casefolded
from registry.keys import slug
from registry.validation import RawDocument, RawValue, agent_id, binding_slot, once, spelled

DOCUMENT = "environment"
_ROOTS = ("agents", "bindings", "bots", "mcpservers")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d+)?\Z")
_TRUTH = {"true": True, "false": False}
_PLAIN = {
    **dict.fromkeys(("maxtokens", "temperature"), "number"),
    **dict.fromkeys(("trustannotations", "linkpreviews"), "truth"),
}


def read_environment(
    environ: Mapping[str, str], bots: Mapping[int, str] | None = None
) -> RawDocument:
    """The draft of a host's environment; `bots` are token hashes by the index in `BOTS__<n>__`."""
    tree = _Tree(environ)
    agents = [_agent(part) for part in tree.entries("agents")]
    bindings = [spelled(part, AgentBinding) for part in tree.entries("bindings")]
    bindings += _short_forms(tree, bots or {})
    kept, doubled = once(agents, agent_id, "agent")
    bound, twice = once(bindings, binding_slot, "binding")
    return RawDocument(
        agents=kept,
        bindings=bound,
        default=_default(environ),
        servers=_servers(tree),
        problems=(*tree.problems, *_unnumbered(tree), *_nameless(kept), *doubled, *twice),
    )


class _Tree:
    """The variables as JSON: digits are list indexes, other steps are names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._places: dict[Path, str] = {}
        self._roots: dict[str, Any] = {root: {} for root in _ROOTS}
        for variable in sorted(environ):
            steps = variable.split("__")
            if steps[0].lower() in _ROOTS and len(steps) > 1 and environ[variable]:
                self._put(variable, [steps[0].lower(), *steps[1:]], environ[variable])

    def entries(self, root: str) -> list[RawValue]:
        """The numbered entries of a root, in the order of their numbers."""
        numbered = [step for step in self._roots[root] if step.isdigit()]
        return [self.part(root, step) for step in sorted(numbered, key=int)]

    def names(self, root: str) -> list[str]:
        """The steps below a root that are no numbers."""
        return [step for step in self._roots[root] if not step.isdigit()]

    def part(self, root: str, step: str) -> RawValue:
        """What stands below `<ROOT>__<step>`, as JSON."""
        return RawValue(_json(self._roots[root][step], step), self._at(root, step), DOCUMENT)

    def _put(self, variable: str, steps: list[str], value: str) -> None:
        node: Any = self._roots
        for depth, step in enumerate(steps[:-1]):
            node = node.setdefault(step, {})
            path = tuple(casefolded(s) for s in steps[: depth + 1])
            self._places.setdefault(path, "__".join(variable.split("__")[: depth + 1]))
            if not isinstance(node, dict):
                break
        if not isinstance(node, dict) or isinstance(node.get(steps[-1]), dict):
            told = "it is a value and also the beginning of other variables"
            self.problems.append(Problem(variable, told, "remove one of them"))
            return
        node[steps[-1]] = value
        self._places[tuple(casefolded(s) for s in steps)] = variable

    def _at(self, root: str, step: str) -> Callable[[Path], str]:
        def at(path: Path) -> str:
            node, steps = self._roots[root][step], [root, casefolded(step)]
            for wanted in path:
                found = _step(node, wanted)
                if found is None:
                    break
                node = node[found]
                steps.append(casefolded(found))
            return self._places[tuple(steps)]

        return at


def _step(node: Any, wanted: str | int) -> str | None:
    """The step of a node that became an index or a name in its JSON."""
    if not isinstance(node, dict):
        return None
    if isinstance(wanted, int):
        return dict(enumerate(sorted(node, key=int))).get(wanted) if _is_list(node) else None
    return next((step for step in node if casefolded(step) == casefolded(wanted)), None)


def _is_list(node: Mapping[str, Any]) -> bool:
    return all(step.isdigit() for step in node)


def _json(node: Any, name: str) -> Any:
    if not isinstance(node, dict):
        return _scalar(node, _PLAIN.get(casefolded(name)))
    if _is_list(node):
        return [_json(node[step], "") for step in sorted(node, key=int)]
    return {step: _json(inner, step) for step, inner in node.items()}


def _scalar(text: str, kind: str | None) -> Any:
    if kind == "truth":
        return _TRUTH.get(text.lower(), text)
    if kind == "number" and (match := _NUMBER.match(text)):
        return float(text) if match[1] else int(text)
    return text


def _agent(part: RawValue) -> RawValue:
    """An agent's part; its own servers have names in small letters, as no shell has other ones."""
    part = spelled(part, AgentDefinition)
    if isinstance(part.value, Mapping) and isinstance(part.value.get("mcpServers"), Mapping):
        own = {name.lower(): server for name, server in part.value["mcpServers"].items()}
        return RawValue({**part.value, "mcpServers": own}, part.at, part.document)
    return part


def _servers(tree: _Tree) -> dict[str, RawValue]:
    return {name.lower(): tree.part("mcpservers", name) for name in tree.names("mcpservers")}


def _default(environ: Mapping[str, str]) -> RawValue | None:
    for variable, value in environ.items():
        if casefolded(variable) == "defaultagentid" and value:
            return RawValue(value, _always(variable), DOCUMENT)
    return None


def _unnumbered(tree: _Tree) -> list[Problem]:
    return [
        Problem(
            f"{root.upper()}__{step}", "its entries are numbered", f"write {root.upper()}__0__…"
        )
        for root in ("agents", "bindings")
        for step in tree.names(root)
    ]


def _nameless(agents: tuple[RawValue, ...]) -> list[Problem]:
    return [
        Problem(part.place, "an agent without an id", f"set {part.place}__ID")
        for part in agents
        if agent_id(part) is None
    ]


def _short_forms(tree: _Tree, bots: Mapping[int, str]) -> list[RawValue]:
    found: list[RawValue] = []
    for part in tree.entries("bots"):
        value = part.value if isinstance(part.value, Mapping) else {}
        agent = next((v for k, v in value.items() if casefolded(k) == "agentid"), None)
        if agent is None:
            continue
        place = part.at(("agentid",))
        number = place.split("__")[1]
        token = next((v for k, v in value.items() if casefolded(k) == "token"), None)
        key = bots.get(int(number)) or (token_hash(str(token).strip()) if token else None)
        if key is None:
            cure = f"set BOTS__{number}__TOKEN or BOTS__{number}__TOKEN_FILE"
            tree.problems.append(Problem(place, "this bot has no token", cure))
            continue
        binding = {"agentId": agent, "type": "TelegramBot", "bindingKey": key}
        found.append(RawValue(binding, _always(place), DOCUMENT))
    return found


def _always(place: str) -> Callable[[Path], str]:
    return lambda _: place


def read_legacy(environ: Mapping[str, str], has_bot: bool) -> RawDocument | None:
    """The draft of a single agent, which is the default one; None without a name or without a bot.

    Reads `NAME`, `MCPSERVERS__<n>__ENDPOINT` and `WHITELISTPATTERNS__<n>`.
    """
    name = environ.get("NAME", "").strip()
    if not name or not has_bot:
        return None
    agent_id = slug(name)
    if agent_id is None:
        cure = "use a name with letters a-z, or describe the agent with AGENTS__0__ID"
        return RawDocument(problems=(Problem("NAME", "no id can be made of this name", cure),))
    endpoints = _listed(environ, "MCPSERVERS__", "__ENDPOINT")
    patterns = _listed(environ, "WHITELISTPATTERNS__", "")
    agent = {
        "id": agent_id,
        "name": name,
        "mcpServerEndpoints": list(endpoints.values()),
        "whitelistPatterns": list(patterns.values()),
    }
    at = _places({"mcpServerEndpoints": list(endpoints), "whitelistPatterns": list(patterns)})
    note = Problem(
        "NAME",
        f"no agents are configured, so NAME and its companions made the agent '{agent_id}'",
        "describe it in agents.json, or as AGENTS__0__ID, to tune it further",
        level="note",
    )
    return RawDocument(
        agents=(RawValue(agent, at, DOCUMENT),),
        default=RawValue(agent_id, at, DOCUMENT),
        problems=(note,),
    )


def _listed(environ: Mapping[str, str], head: str, tail: str) -> dict[str, str]:
    """Variables `<head><n><tail>` with their values, in the order of their numbers."""
    found: dict[int, str] = {}
    for variable, value in environ.items():
        upper = variable.upper()
        number = upper.removeprefix(head).removesuffix(tail)
        if upper == f"{head}{number}{tail}" and number.isdigit() and value:
            found[int(number)] = variable
    return {found[number]: environ[found[number]] for number in sorted(found)}


def _places(variables: Mapping[str, list[str]]) -> Callable[[Path], str]:
    def at(path: Path) -> str:
        if len(path) > 1 and isinstance(path[1], int):
            return variables[str(path[0])][path[1]]
        return "NAME"

    return at
