"""What the data models share: any letter case in, camelCase out, sentences for errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from registry.errors import Level
from registry.json_text import Path, casefolded, dotted
from registry.secrets import shown

MOST_FINDINGS = 50
MOST_NAMES = 1_000
_LONGEST_NAME = 200
_TAGS = {"names", "servers"}


class InvalidValue(ValueError):
    """A value that a field refuses; says what and the cure, and never the value of a secret."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


@dataclass(frozen=True, slots=True)
class ValidationIssue:
    """A mistake inside one value: where in it, what, and the cure."""

    path: Path
    message: str
    cure: str
    level: Level = "error"


class RegistryModel(BaseModel):
    """A frozen value; names in any case on input, camelCase on output, unknown names refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return canonical(value, cls) if isinstance(value, Mapping) else value


def field_names(model: type[RegistryModel]) -> list[str]:
    """The names of a model's fields as they are written in JSON."""
    return [field.alias or name for name, field in model.model_fields.items()]


def canonical(value: Mapping[str, Any], model: type[RegistryModel]) -> dict[str, Any]:
    """The same value with the model's own spelling of its names; unknown names stay."""
    if len(value) > MOST_NAMES:
        raise InvalidValue(f"has more than {MOST_NAMES} fields", "keep those that are known")
    if any(isinstance(item, list) and len(item) > MOST_NAMES for item in value.values()):
        raise InvalidValue(f"has a list of more than {MOST_NAMES} entries", "shorten it")
    known = {casefolded(name): name for name in field_names(model)}
    result: dict[str, Any] = {}
    for name, item in value.items():
        spelled = known.get(casefolded(str(name)), str(name))
        if spelled in result:
            raise InvalidValue(
                f"'{spelled}' is given twice, in two spellings", "keep one of the two"
            )
        result[spelled] = item
    return result


def issues_of(error: ValidationError, model: type[RegistryModel]) -> Iterator[ValidationIssue]:
    """The mistakes of a validation as sentences, each with its path; no more than people read."""
    told = error.errors(include_url=False, include_input=False)
    for details in sorted(told, key=lambda one: one["type"] == "missing")[:MOST_FINDINGS]:
        path = _path(details["loc"])
        message, cure = _sentence(details, path, model)
        yield ValidationIssue(path, message, cure)


def _path(loc: tuple[int | str, ...]) -> Path:
    if len(loc) > 1 and loc[1] in _TAGS:
        loc = (loc[0], *loc[2:])
    return tuple(part for part in loc if part != "[key]")


def _sentence(details: ErrorDetails, path: Path, model: type[RegistryModel]) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    where = f"'{dotted(path)}'" if path else "it"
    wrong = context.get("error")
    if isinstance(wrong, InvalidValue):
        return (f"{where}: {wrong.message}" if path else wrong.message), wrong.cure
    if kind == "missing":
        return f"{where} is missing", f"add {where}"
    if kind == "extra_forbidden":
        return _unknown(path, model)
    return f"{where} {_phrase(kind, context, details['msg'])}", "correct it"


def _unknown(path: Path, model: type[RegistryModel]) -> tuple[str, str]:
    known = field_names(_model_at(path[:-1], model))
    return unknown_name(str(path[-1]), known)


def unknown_name(name: str, known: list[str]) -> tuple[str, str]:
    """What to say of a name that nothing here has: the nearest one, or all there are."""
    name = name[:_LONGEST_NAME]
    near = difflib.get_close_matches(
        casefolded(name), [casefolded(k) for k in known], n=1, cutoff=0.6
    )
    match = next((k for k in known if near and casefolded(k) == near[0]), None)
    cure = f"did you mean '{match}'?" if match else f"remove it; known are {', '.join(known)}"
    return f"unknown field {shown(name)}", cure


def _model_at(path: Path, model: type[RegistryModel]) -> type[RegistryModel]:
    for part in path:
        nested = getattr(model, "nested", None)
        model = (nested().get(part) if nested else None) or model
    return model


_PHRASES = {
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list in [ ]",
    "dict_type": "must be an object in {{ }}",
    "mapping_type": "must be an object in {{ }}",
    "model_type": "must be an object in {{ }}",
    "union_tag_not_found": "must be a list of server names or an object of servers",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "has more than {max_length} entries",
    "literal_error": "must be {expected}",
}


def _phrase(kind: str, context: Mapping[str, Any], fallback: str) -> str:
    return _PHRASES[kind].format(**context) if kind in _PHRASES else f"is wrong: {fallback}"
