"""JSON texts as drafts: agents.json, and single values that came alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from registry.binding import AgentBinding
from registry.definition import AgentDefinition
from registry.draft import Draft, Part, agent_id, binding_slot, once, spelled
from registry.errors import DocumentErrors, Problem
from registry.fields import unknown_name
from registry.json_text import JsonFault, Path, folded, lines, parse

_ROOTS = ["agents", "bindings", "defaultAgentId", "mcpServers"]


def read_file_text(text: str, name: str) -> Draft:
    """The draft of an agents.json; raises `DocumentErrors` where it is no JSON object."""
    whole = read_value(text, name)
    if not isinstance(whole.value, Mapping):
        cure = 'write { "agents": [ … ] }'
        raise DocumentErrors([Problem(whole.place, "it must be an object in { }", cure)])
    roots, problems = _roots(whole)
    agents, bindings = _parts(roots, "agents", problems), _parts(roots, "bindings", problems)
    kept, doubled = once([spelled(p, AgentDefinition) for p in agents], agent_id, "agent")
    bound, twice = once([spelled(p, AgentBinding) for p in bindings], binding_slot, "binding")
    default = roots.get("defaultAgentId")
    return Draft(
        agents=kept,
        bindings=bound,
        default=default if default and default.value is not None else None,
        servers=_servers(roots, problems),
        problems=(*problems, *doubled, *twice),
    )


def read_value(text: str, name: str, *, numbered: bool = True) -> Part:
    """One JSON value as a part with `name:line` as places, or `name` alone if not numbered."""
    try:
        value = parse(text)
    except JsonFault as fault:
        place = f"{name}:{fault.line}" if numbered else name
        told = f"line {fault.line}, column {fault.column}: {fault.message}"
        raise DocumentErrors([Problem(place, told, fault.cure)]) from None
    return Part(value, _places(text, name) if numbered else lambda _: name, name)


def _places(text: str, name: str) -> Callable[[Path], str]:
    @cache
    def index() -> dict[Path, int]:
        return lines(text)

    def at(path: Path) -> str:
        steps = tuple(folded(step) if isinstance(step, str) else step for step in path)
        found = index()
        while steps and steps not in found:
            steps = steps[:-1]
        return f"{name}:{found[steps]}"

    return at


def _roots(whole: Part) -> tuple[dict[str, Part], list[Problem]]:
    known = {folded(root): root for root in _ROOTS}
    roots: dict[str, Part] = {}
    problems: list[Problem] = []
    for name in whole.value:
        part = whole.inner(name)
        root = known.get(folded(name))
        if root is None and name != "$schema":
            problems.append(Problem(part.place, *unknown_name(name, _ROOTS)))
        elif root in roots:
            problems.append(Problem(part.place, f"'{root}' is given twice", "keep one of the two"))
        elif root is not None:
            roots[root] = part
    return roots, problems


def _parts(roots: Mapping[str, Part], root: str, problems: list[Problem]) -> list[Part]:
    part = roots.get(root)
    if part is None or part.value is None:
        return []
    if not isinstance(part.value, list):
        problems.append(Problem(part.place, f"'{root}' must be a list in [ ]", "correct it"))
        return []
    return [part.inner(index) for index in range(len(part.value))]


def _servers(roots: Mapping[str, Part], problems: list[Problem]) -> dict[str, Part]:
    part = roots.get("mcpServers")
    if part is None or part.value is None:
        return {}
    if not isinstance(part.value, Mapping):
        cure = 'write "mcpServers": {"name": {"command": …}}'
        problems.append(Problem(part.place, "'mcpServers' must be an object in { }", cure))
        return {}
    return {name: part.inner(name) for name in part.value}
