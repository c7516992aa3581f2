"""A document before it is validated: raw parts that know where they stand, and their merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from registry.binding import AgentBinding
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import Problem
from registry.fields import Frozen, Wrong, canonical
from registry.json_text import Path
from registry.pasted import shown


@dataclass(frozen=True, slots=True)
class Part:
    """A raw JSON value; `at` gives the place of a path inside it."""

    value: Any
    at: Callable[[Path], str]
    document: str

    @property
    def place(self) -> str:
        """Where the part itself stands."""
        return self.at(())

    def inner(self, *steps: str | int) -> Part:
        """The part below a path; its value is None where there is none."""
        value = self.value
        for step in steps:
            value = value[step]
        return Part(value, lambda path: self.at((*steps, *path)), self.document)


@dataclass(frozen=True, slots=True)
class Draft:
    """The raw parts of a document, with the problems found while it was taken apart."""

    agents: tuple[Part, ...] = ()
    bindings: tuple[Part, ...] = ()
    default: Part | None = None
    servers: Mapping[str, Part] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def spelled(part: Part, model: type[Frozen]) -> Part:
    """The same part with the model's spelling of its names; a doubled name stays for validation."""
    if not isinstance(part.value, Mapping):
        return part
    with suppress(Wrong):
        value = canonical(part.value, model)
        overrides = value.get("llmOverrides")
        if model is AgentDefinition and isinstance(overrides, Mapping):
            value["llmOverrides"] = canonical(overrides, LlmConfiguration)
        return Part(value, part.at, part.document)
    return part


def once(parts: Iterable[Part], key: Callable[[Part], str | None], what: str) -> _Sorted:
    """The first part of each key, and a problem for each later one."""
    first: dict[str, Part] = {}
    kept: list[Part] = []
    problems: list[Problem] = []
    for part in parts:
        own = key(part)
        if own is not None and own in first:
            told = f"{what} {shown(own)} is there already at {first[own].place}"
            problems.append(Problem(part.place, told, "remove or rename one of the two"))
            continue
        if own is not None:
            first[own] = part
        kept.append(part)
    return tuple(kept), tuple(problems)


_Sorted = tuple[tuple[Part, ...], tuple[Problem, ...]]


def agent_id(part: Part) -> str | None:
    """The id that a raw agent says it has."""
    value = part.value.get("id") if isinstance(part.value, Mapping) else None
    return value if isinstance(value, str) else None


def binding_slot(part: Part) -> str | None:
    """What a raw binding binds, or None where it is not valid."""
    with suppress(ValueError):
        return AgentBinding.model_validate(part.value).slot
    return None


def merge(base: Draft, top: Draft) -> Draft:
    """Both drafts in one: agents field by field, bindings and servers whole; `top` wins."""
    return Draft(
        agents=_merged(base.agents, top.agents, agent_id, _fields),
        bindings=_merged(base.bindings, top.bindings, binding_slot, _whole),
        default=top.default or base.default,
        servers={**base.servers, **top.servers},
        problems=(*base.problems, *top.problems),
    )


def _merged(
    base: tuple[Part, ...],
    top: tuple[Part, ...],
    key: Callable[[Part], str | None],
    join: Callable[[Part, Part], Part],
) -> tuple[Part, ...]:
    over = {own: part for part in top if (own := key(part)) is not None}
    result = [join(part, over.pop(key(part) or "", part)) for part in base]
    used = {id(part) for part in over.values()}
    return (*result, *(part for part in top if key(part) is None or id(part) in used))


def _whole(_: Part, top: Part) -> Part:
    return top


def _fields(base: Part, top: Part) -> Part:
    if base is top:
        return base
    value = {**base.value, **top.value}
    below, above = base.value.get("llmOverrides"), top.value.get("llmOverrides")
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        value["llmOverrides"] = {**below, **above}

    def at(path: Path) -> str:
        return top.at(path) if _holds(top.value, path) else base.at(path)

    return Part(value, at, f"{base.document} and {top.document}")


def _holds(value: Mapping[str, Any], path: Path) -> bool:
    if not path or path[0] == "id" or path[0] not in value:
        return False
    inner = value[str(path[0])]
    if path[0] != "llmOverrides" or len(path) < 2 or not isinstance(inner, Mapping):
        return True
    return path[1] in inner
