"""What is wrong with a setting, in words: the variable, the fault and the cure, never the value."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bot.settings import Bot, Settings
from registry.errors import Problem

_WHOLE, _NUMBER, _SWITCH = "must be a whole number", "must be a number", "must be 1 or 0"
_SAID = {
    "missing": ("is not set", "set it, or remove what else begins like it"),
    "int_type": (_WHOLE, ""),
    "int_parsing": (_WHOLE, ""),
    "int_from_float": (_WHOLE, ""),
    "float_type": (_NUMBER, ""),
    "float_parsing": (_NUMBER, ""),
    "finite_number": (_NUMBER, ""),
    "bool_type": (_SWITCH, ""),
    "bool_parsing": (_SWITCH, ""),
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be {} or more"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be {} or less"),
    "less_than": ("lt", "must be less than {}"),
}
_PARTS = ("model_type", "model_attributes_type", "dict_type", "list_type")


def wrong_settings(error: ValidationError) -> list[Problem]:
    """One problem for each setting that was refused."""
    return [_problem(one) for one in error.errors(include_input=False, include_url=False)]


def _problem(one: Any) -> Problem:
    loc, inside = _place(one["loc"])
    said, cure = _said(one, loc)
    part = ".".join(name for name in inside if isinstance(name, str))
    return Problem(_variable(loc), f"{part} {said}".strip(), cure or _meaning(loc))


def _place(loc: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The variable, and the place inside its value."""
    ends = min(len(loc), 3)  # BOTS, its number, and one of its fields
    if loc[0] != "bots":
        ends = next((n for n in range(1, len(loc)) if _model(loc[:n]) is None), ends)
    return loc[:ends], loc[ends:]


def _said(one: Any, loc: tuple[Any, ...]) -> tuple[str, str]:
    """The fault and its cure; without one the setting's meaning is told."""
    kind, context = one["type"], one.get("ctx", {})
    if kind in _SAID:
        return _SAID[kind]
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return words.format(f"{context[bound]:.15g}"), ""
    if kind == "literal_error":
        return f"must be {context['expected']}", ""
    if kind == "extra_forbidden":
        return "is no setting", _meant(loc)
    if kind in _PARTS:
        return _no_whole(loc)
    said, _, cure = one["msg"].removeprefix("Value error, ").partition("; ")
    return said, cure


def _no_whole(loc: tuple[Any, ...]) -> tuple[str, str]:
    """What is said where a text stands for something that has parts."""
    parts = _parts(loc)
    if parts == [_variable(loc)]:
        return "must be JSON", ""
    return "cannot be set as a whole", f"set {', '.join(parts[:-1])} or {parts[-1]}"


def _variable(loc: tuple[Any, ...]) -> str:
    return "__".join(str(part).upper() for part in loc)


def _meant(loc: tuple[Any, ...]) -> str:
    """Which setting a misspelt one may stand for, and else all there are."""
    known = _parts(loc[:-1])
    near = get_close_matches(_variable(loc), known, 1, cutoff=0.8)
    return f"is {near[0]} meant?" if near else f"there are {', '.join(known)}"


def _parts(loc: tuple[Any, ...]) -> list[str]:
    """The variables below a place, as they are written."""
    if loc == ("bots",):
        return [f"BOTS__0__{name.upper()}" for name in Bot.model_fields]
    model = _model(loc)
    return (
        [_variable((*loc, field.alias or name)) for name, field in model.model_fields.items()]
        if model
        else [_variable(loc)]
    )


def _model(loc: tuple[Any, ...]) -> type[BaseModel] | None:
    """The model whose fields lie below a place; None where there is none."""
    found: Any = Settings
    for part in loc:
        if isinstance(part, str):
            field = found.model_fields.get(part) if found else None
            found = next(_models(field.annotation), None) if field else None
    return found  # type: ignore[no-any-return]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for inner in (annotation, *get_args(annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield inner


def _meaning(loc: tuple[Any, ...]) -> str:
    model = _model(loc[:-1])
    fields = (
        {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
    )
    field = fields.get(str(loc[-1]))
    return f"it is: {field.description}" if field and field.description else "correct it"
