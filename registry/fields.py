"""What the data models share: ids, names in any spelling, paths, and errors as sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from registry.errors import InvalidValue, Level
from registry.secrets import shown

MOST_ISSUES = 50
MOST_NAMES = 1_000
_LONGEST_NAME = 200
_LONGEST_STEP = 100
_UNION_TAGS = {"names", "servers"}
_VERB = re.compile(r"(is|has|holds|takes|asks|leads|comes|must|may) ")

T = TypeVar("T")
Path = tuple[str | int, ...]
Few = Annotated[tuple[T, ...], Field(strict=False, max_length=64)]
Many = Annotated[tuple[T, ...], Field(strict=False, max_length=256)]

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
SLUG_RULE = "1 to 64 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit"


def is_slug(text: str) -> bool:
    """Whether a text can be an id; a slug never leaves its directory or its key."""
    return _SLUG.match(text) is not None


def slug(text: str) -> str | None:
    """The slug that reads most like a text, or None if nothing is left of it."""
    shortened = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:64]
    return shortened if is_slug(shortened) else None


def valid_slug(text: str) -> str:
    """The text itself; raises InvalidValue where it cannot be an id."""
    if is_slug(text):
        return text
    near = slug(text)
    cure = f"write '{near}'" if near and shown(text) != "(hidden)" else "choose another"
    raise InvalidValue(f"{shown(text)} is not a valid id ({SLUG_RULE})", cure)


def must(matches: Callable[[str], object], message: str, cure: str) -> Callable[[str], str]:
    """A validator of texts that match; `{}` in the message stands for the text."""

    def checked(text: str) -> str:
        if not matches(text):
            raise InvalidValue(message.format(shown(text)), cure)
        return text

    return checked


def inner_values(value: Any) -> Iterable[Any]:
    """What lies one level down in a JSON value."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def dotted(path: Path) -> str:
    """A path as people write it, with long names cut: `agents[0].name`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:_LONGEST_STEP]}" for step in path)
    return "".join(steps).removeprefix(".")


def casefolded(name: str) -> str:
    """A name as it is compared: in any letter case, with or without underscores."""
    return name.replace("_", "").lower()


def nearest_place(path: Path, places: Mapping[Path, T]) -> T:
    """The place of a path of folded names and indexes, or of the nearest part with a place."""
    steps = tuple(casefolded(step) if isinstance(step, str) else step for step in path)
    while steps and steps not in places:
        steps = steps[:-1]
    return places[steps]


@dataclass(frozen=True, slots=True)
class ValidationIssue:
    """A mistake inside one value: where in it, what, and how to fix it."""

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


class SnakeModel(RegistryModel):
    """A value whose JSON names are its Python names, with underscores."""

    model_config = ConfigDict(alias_generator=str)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that are written in JSON."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def canonical(value: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The same value with the model's own spelling of its names; unknown names stay."""
    if len(value) > MOST_NAMES:
        raise InvalidValue(f"has more than {MOST_NAMES} fields", "keep those that are known")
    if any(isinstance(item, list) and len(item) > MOST_NAMES for item in value.values()):
        raise InvalidValue(f"has a list of more than {MOST_NAMES} entries", "shorten it")
    known = {casefolded(name): name for name in fields_of(model)}
    result: dict[str, Any] = {}
    for name, item in value.items():
        spelled = known.get(casefolded(str(name)), str(name))
        if spelled in result:
            message = f"'{spelled}' is given twice, in two spellings"
            raise InvalidValue(message, "keep one of the two")
        result[spelled] = item
    return result


def model_at(path: Path, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model whose fields lie at a path below another model; None where there is none."""
    skip_key = False
    for step in path:
        if isinstance(step, int) or skip_key:
            skip_key = False
            continue
        field = fields_of(model).get(step)
        inner = next(_models_in(field.annotation), None) if field else None
        if inner is None:
            return None
        model, skip_key = inner
    return model


def _models_in(annotation: Any, keyed: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models inside an annotation, each with whether it is the value of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, keyed
    for inner in get_args(annotation):
        yield from _models_in(inner, keyed or get_origin(annotation) is Mapping)


def issues_of(error: ValidationError, model: type[BaseModel]) -> Iterator[ValidationIssue]:
    """The mistakes that a validation found, as sentences; no more than people read."""
    found = error.errors(include_url=False, include_input=False)
    # Which fields there may be is not known where it is not known what it is.
    unknown = {_path(one["loc"])[:-1] for one in found if _is_of_unknown_kind(one)}
    found = [
        one
        for one in found
        if one["type"] != "extra_forbidden" or _path(one["loc"])[:-1] not in unknown
    ]
    for details in sorted(found, key=lambda one: one["type"] == "missing")[:MOST_ISSUES]:
        path = _path(details["loc"])
        where = f"'{dotted(path)}'" if path else "it"
        message, cure = describe(details)
        if details["type"] == "missing":
            message, cure = f"{where} is missing", f"add {where}"
        elif details["type"] == "extra_forbidden":
            known = fields_of(model_at(path[:-1], model) or model)
            message, cure = unknown_name(str(path[-1]), known)
        elif not cure or _VERB.match(message):
            message = f"{where} {message}"
        elif path:
            message = f"{where}: {message}"
        yield ValidationIssue(path, message, cure)


def _is_of_unknown_kind(details: ErrorDetails) -> bool:
    """Whether a mistake is a `type` that there is not."""
    return details["type"] == "literal_error" and details["loc"][-1:] == ("type",)


def _path(loc: tuple[int | str, ...]) -> Path:
    if len(loc) > 1 and loc[1] in _UNION_TAGS:
        loc = (loc[0], *loc[2:])
    return tuple(part for part in loc if part != "[key]")


def unknown_name(name: str, known: Collection[str]) -> tuple[str, str]:
    """The message and the fix for an unknown name: the nearest known one, or all of them."""
    name = name[:_LONGEST_NAME]
    near = nearest(name, known, 0.6)
    cure = f"did you mean '{near}'?" if near else f"remove it; known: {', '.join(known)}"
    return f"unknown field {shown(name)}", cure


def nearest(name: str, known: Collection[str], cutoff: float) -> str | None:
    """The known name that reads most like another one, in any spelling; None where none does."""
    spelled = {casefolded(one): one for one in known}
    near = difflib.get_close_matches(casefolded(name), spelled, n=1, cutoff=cutoff)
    return spelled[near[0]] if near else None


_PHRASES = {
    "string_type": "must be text in quotes",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type"), "must be an object in {{ }}"),
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list in [ ]",
    "union_tag_not_found": "must be a list of server names or an object of servers",
    "greater_than_equal": "must be at least {ge:.15g}",
    "greater_than": "must be more than {gt:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "less_than": "must be less than {lt:.15g}",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "has more than {max_length} entries",
    "literal_error": "must be {expected}",
}


_CURES: Mapping[str, str] = {
    "must be text in quotes": "put quotes around it, or leave it out",
    "must be a whole number": "write a plain number, or leave it out",
    "must be a number": "write a plain number, or leave it out",
    "must be an object": "write names and values, indented below it",
    "must be a list": "write - before each of its parts, indented below it",
    "must not be empty": "write something, or leave it out",
    "' or '": "write one of them",
    "must be '": "write that, or leave it out",
    "must be ": "change it, or leave it out",
    "is longer than": "shorten it",
    "has more than": "keep fewer",
}
"""How to fix what says by itself what is wrong, by words in it; the first that match count."""


def with_cure(issue: ValidationIssue, model: type[BaseModel]) -> ValidationIssue:
    """A mistake in a value of a model that says how to fix it."""
    if issue.cure:
        return issue
    found = (cure for words, cure in _CURES.items() if words in issue.message)
    cure = next(found, "change it, or leave it out")
    if issue.path and _is_needed(issue.path, model):
        cure = cure.removesuffix(_OR_NOT)
    return replace(issue, cure=cure)


_OR_NOT = ", or leave it out"


def _is_needed(path: Path, model: type[BaseModel]) -> bool:
    """Whether a field at a path cannot be left out."""
    above = model_at(path[:-1], model)
    field = fields_of(above).get(str(path[-1])) if above else None
    return field is not None and field.is_required()


_FORMS = {"tuple_type": "write [ ] around it, with a comma between its parts"}


def describe(details: ErrorDetails) -> tuple[str, str]:
    """What is wrong with a value, in words that follow its name, and the fix ("" if unknown)."""
    context = details.get("ctx", {})
    wrong = context.get("error")
    if isinstance(wrong, InvalidValue):
        return wrong.message, wrong.cure
    phrase = _PHRASES.get(details["type"])
    if details["type"] == "too_long" and context.get("field_type") == "Value":
        phrase = _PHRASES["string_too_long"]  # so pydantic calls a text that was checked before
    if phrase is None:
        return f"is not valid: {details['msg'].removeprefix('Value error, ')}", ""
    return phrase.format(**context), _FORMS.get(details["type"], "")
