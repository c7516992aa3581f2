"""Changes of a document as people type them and programs send them: single fields by their names.

Knows the models of documents and nothing of where these are stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.fields import canonical, casefolded, fields_of, model_at, nearest, unknown_name

REMOVED = "none"
"""The word that takes a field out."""
_LONGEST_NAME = 200
_SWITCHED = {"on": True, "yes": True, "off": False, "no": False}


def settings_of(
    model: type[BaseModel], identity: frozenset[str], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, type]]:
    """The fields of a model by their dotted names, with the kind of value that each takes.

    Fields of `identity`, which name the document, are left out.
    """
    for name, info in fields_of(model).items():
        kind, steps = _kind(info.annotation), (*path, name)
        if issubclass(kind, BaseModel):
            yield from settings_of(kind, identity, steps)
        elif path or name not in identity:
            yield ".".join(steps), kind


def _kind(annotation: Any) -> type:
    """What a value of a field is: a text, a number, a tuple, a mapping, or a model."""
    if isinstance(annotation, type):
        return annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return type(inner[0])
    return origin if origin in (tuple, Mapping) else _kind(inner[0])


@dataclass(frozen=True, slots=True)
class EditableFields:
    """What may be changed in documents of a model, by dotted name and by short names.

    A short name is the last part of a dotted one where no other ends like it, or one of `others`;
    letter case and underscores do not count.
    """

    model: type[BaseModel]
    identity: frozenset[str]
    others: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, type] = field(init=False)
    _short: Mapping[str, str] = field(init=False)
    _blocks: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        settings = dict(settings_of(self.model, self.identity))
        blocks = {one for name in settings for one in _parents(name)}
        ends = [casefolded(name.rpartition(".")[2]) for name in settings]
        short = {
            end: name for end, name in zip(ends, settings, strict=True) if ends.count(end) == 1
        }
        short |= {casefolded(name): name for name in (*self.others.values(), *settings, *blocks)}
        short |= {casefolded(name): meant for name, meant in self.others.items()}
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "_short", short)
        object.__setattr__(self, "_blocks", frozenset(blocks))

    @property
    def _required(self) -> set[str]:
        """The fields that the document always has."""
        return {name for name, info in fields_of(self.model).items() if info.is_required()}

    def named(self, name: str) -> str | None:
        """The dotted name that a name means; None for a name of nothing."""
        return self._short.get(casefolded(name))

    def spelled(self, given: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Fields in the document's own names; raises DocumentErrors for one given twice."""
        try:
            result = canonical(given, self.model)
            for name, value in result.items():
                block = model_at((name,), self.model)
                if block is not None and name in self._blocks and isinstance(value, Mapping):
                    result[name] = canonical(value, block)
                if value is None and name in self._required:
                    what = name.replace("_", " ")
                    message, cure = f"a new {what} is needed", f"the {what} cannot be taken out"
                    raise DocumentErrors([Problem(place, message, cure, path=name)])
        except InvalidValue as wrong:
            raise DocumentErrors([Problem(place, wrong.message, wrong.cure)]) from None
        return result

    def change(self, name: str, text: str, place: str) -> dict[str, Any]:
        """The change that gives a field this value, as it is typed.

        Raises DocumentErrors for a name of nothing.
        """
        known = self.named(name)
        if known is None:
            message, cure = unknown_name(name, [*self.settings])
            ends = {one.rpartition(".")[2]: one for one in self.settings}
            if near := nearest(name[:_LONGEST_NAME], ends, 0.6):
                cure = f"did you mean '{ends[near]}'?"
            raise DocumentErrors([Problem(place, message, cure, path=name)])
        change: Any = typed_value(text.strip(), self.settings.get(known, Mapping))
        for step in reversed(known.split(".")):
            change = {step: change}
        return dict(change)


def _parents(name: str) -> Iterator[str]:
    """The blocks that a dotted name lies in, the outermost first."""
    steps = name.split(".")
    yield from (".".join(steps[:count]) for count in range(1, len(steps)))


def typed_value(text: str, kind: type) -> Any:
    """A value as it is written in JSON, or plainly: a text without quotes, a list with commas."""
    if text.lower() == REMOVED:
        return None
    if kind is bool and text.lower() in _SWITCHED:
        return _SWITCHED[text.lower()]
    value: Any = text
    with suppress(ValueError):
        value = json.loads(text)
    if kind is str:
        return value if isinstance(value, str) else text
    if kind is tuple and isinstance(value, str):
        return [one for part in text.split(",") if (one := part.strip())]
    return value


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A document with the given fields; null takes one out, and objects are merged (RFC 7396).

    An object in which nothing is left goes too.
    """
    result = dict(document)
    for name, value in change.items():
        held = result.get(name)
        if isinstance(value, Mapping):
            value = merged(held if isinstance(held, Mapping) else {}, value) or None
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result
